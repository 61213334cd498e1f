"""Enhanced (multi-frame) objects hold the same study in a file per series."""

import numpy as np
import pytest
import SimpleITK
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.dicom.choose import choose_pair
from h2aseg_nnunet.petct.dicom.labels import find_label_objects, read_label
from h2aseg_nnunet.petct.dicom.objects import write_rtstruct, write_seg
from h2aseg_nnunet.petct.dicom.study import read_study
from tests.unit.petct.dicom.exports import ORIGIN_MM, SHAPE, SPACING_MM

ENHANCED_CT, ENHANCED_PET = "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.130"
HALF_LIFE_S = 6586.2


def group(**elements) -> Dataset:
    ds = Dataset()
    for name, value in elements.items():
        setattr(ds, name, value)
    return ds


def write_enhanced(export, sop_class, modality, stored, scales, order, units=None, world_slope=1.0, **elements):
    """Frames in any order; every one has its own slope."""
    ds = export._instance(sop_class, modality, generate_uid(), 1 if modality == "CT" else 2, f"enhanced {modality}")
    del ds.PixelSpacing
    shared = group(
        PixelMeasuresSequence=[group(PixelSpacing=list(SPACING_MM[1:]), SliceThickness=SPACING_MM[0])],
        PlaneOrientationSequence=[group(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
    )
    if units:
        code = group(CodeValue=units, CodingSchemeDesignator="UCUM", CodeMeaning=units)
        mapping = group(
            MeasurementUnitsCodeSequence=[code],
            RealWorldValueSlope=world_slope,
            RealWorldValueIntercept=0.0,
            RealWorldValueFirstValueMapped=0,
            RealWorldValueLastValueMapped=32767,
            LUTLabel="activity",
        )
        shared.RealWorldValueMappingSequence = [mapping]
    frames = []
    for k in order:
        position = np.add(ORIGIN_MM, (0, 0, SPACING_MM[0] * k)).tolist()
        frame = group(
            PlanePositionSequence=[group(ImagePositionPatient=position)],
            PixelValueTransformationSequence=[group(RescaleSlope=scales[k][0], RescaleIntercept=scales[k][1])],
            FrameContentSequence=[group(FrameAcquisitionDateTime="20240301100000", FrameAcquisitionDuration=120000.0)],
        )
        frames.append(frame)
    ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence = [shared], frames
    ds.NumberOfFrames, ds.PixelData = len(order), np.stack([stored[k] for k in order]).astype("<i2").tobytes()
    for name, value in elements.items():
        setattr(ds, name, value)
    ds.save_as(export.folder / generate_uid()[-12:], enforce_file_format=True)


@pytest.fixture
def enhanced(export):
    """CT with a ramp; PET of 1000 Bq/ml, corrected to 10:00, an hour after the injection."""
    ramp = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    order = [3, 0, 5, 1, 4, 2]
    write_enhanced(export, ENHANCED_CT, "CT", ramp, [(1.0, -1024.0)] * SHAPE[0], order)
    slopes = [(0.5 + 0.25 * (k % 3), 0.0) for k in range(SHAPE[0])]
    stored = np.stack([np.full(SHAPE[1:], round(1000 / slope)) for slope, _ in slopes])
    drug = group(
        RadionuclideTotalDose=350e6,
        RadionuclideHalfLife=HALF_LIFE_S,
        RadiopharmaceuticalStartDateTime="20240301090000",
    )
    write_enhanced(
        export, ENHANCED_PET, "PT", stored, slopes, order, "Bq/ml",
        AttenuationCorrected="YES", DecayCorrected="YES", DecayCorrectionDateTime="20240301100000",
        PatientWeight=70.0, RadiopharmaceuticalInformationSequence=[drug],
    )  # fmt: skip
    return export


def test_frames_lie_where_their_positions_say(enhanced, only_study):
    images = read_study(only_study(enhanced))

    ramp = np.arange(np.prod(SHAPE)).reshape(SHAPE) - 1024
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(images.ct_hu), ramp)
    assert images.ct_hu.GetOrigin() == tuple(ORIGIN_MM)
    assert images.ct_hu.GetSpacing() == SPACING_MM[::-1]


def test_units_and_times_of_an_enhanced_pet_give_suv(enhanced, only_study):
    images = read_study(only_study(enhanced))

    expected = 1000 * 70e3 / 350e6 / 2 ** (-3600 / HALF_LIFE_S)
    np.testing.assert_allclose(SimpleITK.GetArrayFromImage(images.pet_suv), expected, rtol=1e-3)
    assert images.record["suv"]["reference_rule"].startswith("DecayCorrectionDateTime")


def write_pet(export, slopes, world_slope, code="Bq/ml", **elements):
    """1000 Bq/ml by the frames' rescale slopes, and real world values by one slope."""
    stored = np.stack([np.full(SHAPE[1:], round(1000 / slope)) for slope in slopes])
    drug = group(
        RadionuclideTotalDose=350e6, RadionuclideHalfLife=HALF_LIFE_S, RadiopharmaceuticalStartDateTime="20240301090000"
    )
    write_enhanced(
        export, ENHANCED_PET, "PT", stored, [(slope, 0.0) for slope in slopes], range(SHAPE[0]), code, world_slope,
        AttenuationCorrected="YES", DecayCorrected="YES", DecayCorrectionDateTime="20240301100000",
        PatientWeight=70.0, RadiopharmaceuticalInformationSequence=[drug], **elements,
    )  # fmt: skip


def test_real_world_values_that_contradict_the_rescaling_are_refused(export, only_study):
    export.add_ct()
    write_pet(export, [0.5] * SHAPE[0], world_slope=1.0)

    with pytest.raises(UserError, match=r"RescaleSlope \(0028,1053\) is 0.5, RealWorldValueSlope \(0040,9225\) 1"):
        read_study(only_study(export))


def test_real_world_values_in_suv_are_suv(export, only_study):
    export.add_ct()
    write_pet(export, [0.1] * SHAPE[0], world_slope=0.1, code="{SUVbw}g/ml")

    np.testing.assert_allclose(SimpleITK.GetArrayFromImage(read_study(only_study(export)).pet_suv), 1000, rtol=1e-3)


@pytest.mark.parametrize("write", [write_seg, write_rtstruct])
def test_objects_refer_to_the_frames(enhanced, only_study, tmp_path, write):
    study = only_study(enhanced)
    series = choose_pair(study).pet
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:4, 1:3, 2] = 1
    write(tmp_path / "object.dcm", {"tumor": mask}, series, "a model")

    read = read_label(find_label_objects(tmp_path)[study.uid], study, series)

    first = np.argwhere(SimpleITK.GetArrayFromImage(read))
    point = read.TransformIndexToPhysicalPoint([int(i) for i in first[:, ::-1].min(axis=0)])
    heights = {round(read.TransformIndexToPhysicalPoint([int(i) for i in index[::-1]])[2], 2) for index in first}
    assert len(first) == mask.sum()
    assert heights == {103.0, 106.0, 109.0}
    np.testing.assert_allclose(point[:2], np.add(ORIGIN_MM[:2], (2 * 1.5, 1 * 2.0)), atol=0.01)
