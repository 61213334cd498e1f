import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.dicom.volume import read_volume
from tests.unit.petct.dicom.exports import ORIGIN_MM, SHAPE, SPACING_MM

A = np.deg2rad(20.0)
OBLIQUE = np.array([[np.cos(A), -np.sin(A), 0], [np.sin(A), np.cos(A), 0], [0, 0, 1]]) @ np.array(
    [[1, 0, 0], [0, np.cos(A), -np.sin(A)], [0, np.sin(A), np.cos(A)]]
)


def ct_of(export, only_study):
    (series,) = (each for each in only_study(export).series.values() if each.modality == "CT")
    return series


@pytest.mark.parametrize("reverse", [False, True])
def test_slices_lie_where_their_positions_say_whatever_their_numbers(export, only_study, reverse):
    export.add_ct(reverse=reverse)

    image = read_volume(ct_of(export, only_study))

    assert image.GetOrigin() == tuple(ORIGIN_MM)
    assert image.GetSpacing() == (SPACING_MM[2], SPACING_MM[1], SPACING_MM[0])
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), np.arange(np.prod(SHAPE)).reshape(SHAPE) - 1024)


def test_an_oblique_voxel_lies_where_dicom_says(export, only_study):
    export.add_ct(axes=OBLIQUE)

    image = read_volume(ct_of(export, only_study))

    expected = ORIGIN_MM + OBLIQUE @ (np.array([3, 2, 5]) * np.array(SPACING_MM)[::-1])
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint((3, 2, 5)), expected, atol=0.01)
    assert image[3, 2, 5] == 5 * 20 + 2 * 4 + 3 - 1024


def test_slices_from_head_to_feet_keep_a_right_handed_grid(export, only_study):
    positions = [np.subtract(ORIGIN_MM, (0, 0, 3.0 * k)) for k in range(SHAPE[0])]
    export.add_ct(positions_mm=positions)

    image = read_volume(ct_of(export, only_study))

    assert np.linalg.det(np.reshape(image.GetDirection(), (3, 3))) == pytest.approx(1)
    assert image.GetOrigin()[2] == 100 - 15
    assert image[0, 0, 5] == 0 - 1024  # the first file's slice is the topmost


def positions(*steps_mm):
    return [np.add(ORIGIN_MM, (0, 0, mm)) for mm in steps_mm]


@pytest.mark.parametrize(
    ("positions_mm", "said"),
    [
        (positions(0, 3, 6, 12, 15, 18), ["lacks 1 slices", "106.00 mm", "112.00 mm"]),
        (positions(0, 3, 6, 10, 13, 16), ["unevenly spaced", "4.00 mm after 106.00"]),
        (positions(0, 3, 6, 6, 9, 12), ["1 doubled slices", "106.00 mm"]),
        ([np.add(ORIGIN_MM, (0, 0.5 * k, 3.0 * k)) for k in range(6)], ["tilted gantry", "9.5 degrees", "2.50 mm"]),
    ],
)
def test_what_is_no_volume_is_refused_with_count_and_place(export, only_study, positions_mm, said):
    export.add_ct(positions_mm=positions_mm, description="CT thorax", number=4)

    with pytest.raises(UserError) as error:
        read_volume(ct_of(export, only_study))

    for part in ("series 4 (CT thorax", *said):
        assert part in str(error.value)


def test_two_time_points_in_one_series_are_refused(export, only_study):
    files = export.add_ct(AcquisitionDate="20240301", AcquisitionTime="100000")
    uid = str(dcmread(files[0]).SeriesInstanceUID)
    export.add_ct(series=uid, AcquisitionDate="20240301", AcquisitionTime="101500")

    with pytest.raises(UserError, match=r"12 slices at 6 positions.*several time points"):
        read_volume(ct_of(export, only_study))


def test_a_file_whose_pixels_are_cut_off_is_named(export, only_study):
    files = export.add_ct()
    ds = dcmread(files[2])
    ds.PixelData = ds.PixelData[:20]
    ds.save_as(files[2])

    with pytest.raises(UserError, match=f"{files[2]} .* is damaged"):
        read_volume(ct_of(export, only_study))


def test_compressed_pixels_are_decoded(export, only_study):
    from pydicom.uid import RLELossless

    for file in export.add_ct():
        ds = dcmread(file)
        ds.compress(RLELossless, encoding_plugin="pydicom")
        ds.save_as(file)

    volume = SimpleITK.GetArrayFromImage(read_volume(ct_of(export, only_study)))

    np.testing.assert_array_equal(volume, np.arange(np.prod(SHAPE)).reshape(SHAPE) - 1024)


def test_without_a_decoder_the_extra_is_named(export, only_study):
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEG2000Lossless

    for file in export.add_ct():
        ds = dcmread(file)
        ds.PixelData = encapsulate([b"\xff\x4f\xff\x51 no decoder reads this"])
        ds["PixelData"].is_undefined_length = True
        ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
        ds.save_as(file)

    with pytest.raises(UserError, match=r"dicom-decoders|damaged"):
        read_volume(ct_of(export, only_study))


def test_values_that_are_no_whole_numbers_stay_fractions(export, only_study):
    for file in export.add_ct():
        ds = dcmread(file)
        ds.RescaleSlope = 0.5
        ds.save_as(file)

    assert read_volume(ct_of(export, only_study))[1, 0, 0] == 0.5 - 1024
