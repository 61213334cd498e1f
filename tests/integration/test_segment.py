"""`h2aseg segment` with a small model trained in seconds: DICOM, nnU-Net images and tables to masks and objects."""

import csv
import json
import shutil
from pathlib import Path

import highdicom
import numpy as np
import pytest
import SimpleITK
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from h2aseg_nnunet.cli import main
from h2aseg_nnunet.modalities import PET
from tests.models import learn, make_network, make_plans, save_model
from tests.synthetic import write_phantom
from tests.unit.petct.dicom.exports import Export

SHAPE, SPACING_MM = (20, 18, 16), (3.0, 2.0, 2.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A network that marks what is bright in the PET."""
    torch.manual_seed(0)
    plans = make_plans()
    network = make_network(plans)
    learn(network, PET)
    folder = tmp_path_factory.mktemp("results") / "Dataset901_Test" / "nnUNetTrainerH2ASeg__nnUNetPlans__3d_fullres"
    return save_model(folder, network, plans)


def segment(*arguments) -> int:
    return main(["segment", *map(str, arguments), "--disable_tta", "-device", "cpu", "-np", "1"])


def write_study(folder: Path, patient: str, **changes) -> Export:
    """A hot ball to the left, behind and above: nothing of it is symmetric."""
    export = Export(folder, patient)
    z, y, x = np.ogrid[tuple(slice(n) for n in SHAPE)]
    ball = ((z - 14) * 3) ** 2 + ((y - 11) * 2) ** 2 + ((x - 5) * 2) ** 2 < 7**2
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.2, SHAPE)
    geometry = {"Rows": SHAPE[1], "Columns": SHAPE[2], "PixelSpacing": list(SPACING_MM[1:])}
    stored_ct = np.rint(1024 + 40 + 10 * noise)
    activity = (3 * ball + np.abs(noise)) * 5000  # SUV 3 and noise: the factor to SUV is 0.0002
    export.add_ct(stored_ct, description="CT", **geometry)
    export.add_pet(activity, number=2, description="PET", DecayCorrection="ADMIN", **geometry | changes)
    return export


def read(file: Path) -> np.ndarray:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open() as stream:
        return list(csv.DictReader(stream))


def test_a_folder_of_studies_gives_masks_tables_and_dicom_and_names_what_is_refused(model, tmp_path, capsys):
    for patient in ("A", "B"):
        write_study(tmp_path / "export" / patient, patient)
    write_study(tmp_path / "export" / "C", "C", PatientWeight=None)
    write_study(tmp_path / "export" / "D", "D", CorrectedImage=["DECY"])
    types = ("--output-type", "nifti", "dicom_seg", "dicom_rtstruct", "--preview", "--force")

    assert segment("-i", tmp_path / "export", "-m", model, "-o", tmp_path / "out", *types) == 1

    shown = capsys.readouterr()
    assert "2 of 4 cases were refused: C_20240301, D_20240301" in shown.err
    assert "For research, not for diagnosis" in shown.out
    status = {row["case"]: row for row in rows_of(tmp_path / "out" / "summary.csv")}
    assert [status[f"{name}_20240301"]["status"] for name in "ABCD"] == ["segmented", "segmented", "refused", "refused"]
    assert "PatientWeight (0010,1030) is missing" in status["C_20240301"]["message"]
    assert "not corrected for attenuation" in status["D_20240301"]["message"]
    case = tmp_path / "out" / "cases" / "A_20240301"
    names = {"mask.nii.gz", "seg.dcm", "rtstruct.dcm", "lesions.csv", "preview.png", "case.json"}
    assert {file.name for file in case.iterdir() if not file.name.startswith(".")} == names
    assert not list((tmp_path / "out" / "cases").glob("C*")) + list((tmp_path / "out" / "cases").glob(".*"))
    record = json.loads((case / "case.json").read_text())
    assert record["source"]["suv"]["decay_correction"] == "ADMIN"
    lesions = rows_of(case / "lesions.csv")
    assert record["num_lesions"] == len(lesions) > 0
    assert sum(float(row["volume_ml"]) for row in lesions) == pytest.approx(record["tmtv_ml"], rel=1e-4)


def test_the_mask_the_seg_and_the_contours_lie_on_the_hot_ball(model, tmp_path):
    export = write_study(tmp_path / "export", "A")
    segment(
        *("-i", tmp_path / "export", "-m", model, "-o", tmp_path / "out", "--force"),
        *("--output-type", "nifti", "dicom_seg", "dicom_rtstruct"),
    )
    case = tmp_path / "out" / "cases" / "A_20240301"

    mask = SimpleITK.ReadImage(str(case / "mask.nii.gz"))
    array = SimpleITK.GetArrayFromImage(mask)
    ball_mm = np.array([-10.0, 20.0, 100.0]) + np.array([5, 11, 14]) * np.array(SPACING_MM)[::-1]
    assert array[14, 11, 5] == 1
    assert mask.TransformPhysicalPointToIndex(ball_mm.tolist()) == (5, 11, 14)

    seg = highdicom.seg.segread(case / "seg.dcm")
    assert str(seg.StudyInstanceUID) == export.uid
    assert str(seg.FrameOfReferenceUID) == export.frame_of_reference
    (description,) = seg.SegmentSequence
    assert description.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Neoplasm"
    volume = seg.get_volume(segment_numbers=[1], combine_segments=True)
    marked = {tuple(np.round(volume.map_indices_to_reference(i[None, :3])[0], 2)) for i in np.argwhere(volume.array)}
    expected = {
        tuple(np.round(mask.TransformIndexToPhysicalPoint([int(n) for n in index[::-1]]), 2))
        for index in np.argwhere(array)
    }
    assert marked == expected

    from pydicom import dcmread

    structures = dcmread(case / "rtstruct.dcm")
    (roi,) = structures.ROIContourSequence
    heights = {round(float(contour.ContourData[2]), 2) for contour in roi.ContourSequence}
    assert heights == {round(100 + 3.0 * int(k), 2) for k in np.unique(np.argwhere(array)[:, 0])}


def test_masks_of_nnunet_images_are_nnunets_own_voxel_by_voxel(model, tmp_path):
    write_phantom(tmp_path / "images", PET)

    assert segment("-i", tmp_path / "images", "-m", model, "-o", tmp_path / "out", "--force") == 0

    predictor = nnUNetPredictor(use_mirroring=False, perform_everything_on_device=False, device=torch.device("cpu"))
    predictor.initialize_from_trained_model_folder(str(model), (0,), "checkpoint_final.pth")
    (tmp_path / "stock").mkdir()
    predictor.predict_from_files_sequential(str(tmp_path / "images"), str(tmp_path / "stock"))
    stock = read(tmp_path / "stock" / "case.nii.gz")
    assert stock.any()
    np.testing.assert_array_equal(read(tmp_path / "out" / "cases" / "case" / "mask.nii.gz"), stock)
    np.testing.assert_array_equal(read(tmp_path / "out" / "masks" / "case.nii.gz"), stock)


def test_a_finished_case_is_not_done_again_and_a_changed_one_is(model, tmp_path):
    write_phantom(tmp_path / "images", PET, name="a")
    write_phantom(tmp_path / "images", PET, name="b")
    arguments = ("-i", tmp_path / "images", "-m", model, "-o", tmp_path / "out", "--force")
    segment(*arguments)
    records = {name: tmp_path / "out" / "cases" / name / "case.json" for name in "ab"}
    before = {name: file.stat().st_mtime_ns for name, file in records.items()}

    write_phantom(tmp_path / "images", PET, name="b")
    segment(*arguments)

    assert records["a"].stat().st_mtime_ns == before["a"]
    assert records["b"].stat().st_mtime_ns > before["b"]


def test_a_model_may_be_an_exported_zip(model, tmp_path):
    write_phantom(tmp_path / "images", PET)
    shutil.make_archive(str(tmp_path / "model"), "zip", model.parents[1], f"{model.parent.name}/{model.name}")

    assert segment("-i", tmp_path / "images", "-m", tmp_path / "model.zip", "-o", tmp_path / "out", "--force") == 0
    assert (tmp_path / "out" / "cases" / "case" / "mask.nii.gz").is_file()


def test_a_folder_of_another_model_is_refused(model, tmp_path, capsys):
    write_phantom(tmp_path / "images", PET)
    other = shutil.copytree(model, tmp_path / "Dataset902_Other" / model.name)
    arguments = ("-i", tmp_path / "images", "-o", tmp_path / "out", "--force")
    segment(*arguments, "-m", model)

    assert segment(*arguments, "-m", other) == 1
    assert "with other settings" in capsys.readouterr().err


def test_an_error_of_the_check_refuses_a_case_unless_it_is_forced(model, tmp_path, capsys):
    write_phantom(tmp_path / "images", PET)  # no CT in Hounsfield units
    arguments = ("-i", tmp_path / "images", "-m", model, "-o", tmp_path / "out")

    assert segment(*arguments) == 1
    assert "--force" in (tmp_path / "out" / "summary.csv").read_text()
    assert segment(*arguments, "--force") == 0
