"""ITK itself reads truncated and damaged NIfTI files without a word."""

import contextlib
import gzip

import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.images import nifti
from h2aseg_nnunet.petct.images.reading import read_image
from tests.locations import REPOSITORY
from tests.unit.petct.convert.synthetic_studies import grid_around, points_mm, ramp, write
from tests.unit.petct.images.niftis import write_nifti

GRID = grid_around(np.zeros(3), (12, 11, 10), (1.0, 2.0, 3.0))


@pytest.fixture
def file(tmp_path):
    return write(ramp(points_mm(GRID)).astype(np.float32), GRID, tmp_path / "image.nii.gz")


def test_a_whole_file_is_read(file):
    np.testing.assert_array_equal(
        SimpleITK.GetArrayFromImage(read_image(file)), ramp(points_mm(GRID)).astype(np.float32)
    )


@pytest.mark.parametrize("lost_bytes", [1, 8, 9, 500])
def test_a_truncated_gzip_file_is_refused(file, lost_bytes):
    file.write_bytes(file.read_bytes()[:-lost_bytes])

    with pytest.raises(ValueError, match=r"image\.nii\.gz is damaged"):
        read_image(file)


def test_a_changed_byte_is_noticed(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(bytes(content))

    with pytest.raises(ValueError, match=r"image\.nii\.gz is damaged"):
        read_image(file)


@pytest.mark.parametrize("kept_bytes", [352, 2000, 352 + 12 * 11 * 10 * 4 - 1])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_fewer_voxels_than_the_header_says_are_refused(file, ending, kept_bytes):
    content = gzip.decompress(file.read_bytes())[:kept_bytes]
    short = file.with_name(f"short{ending}")
    short.write_bytes(gzip.compress(content) if ending == ".nii.gz" else content)

    with pytest.raises(ValueError, match=f"holds {kept_bytes - 352} of 5280 bytes"):
        read_image(short)


@pytest.mark.parametrize("content", [b"", b"no image" * 100, bytes(1000)], ids=["empty", "text", "zeros"])
@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz", "image.mha", "image.nrrd"])
def test_something_else_than_an_image_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ValueError, match=name):
        read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("offset", "damage", "words"),
    [
        (42, b"\xff\x7f", "is incomplete"),  # voxels along x
        (42, b"\x00\x00", r"its size is \(0, 11, 10\)"),
        (70, b"\x99\x09", "unknown type 2457"),
        (0, b"\x00", "does not begin with a header"),
        (288, b"\x00\x00\x80\x7f", "numbers that are not finite"),  # infinity in an affine, where ITK does not return
        (284, b"\x00\x00\x80\x3f", "axes that are not at right angles, by 27 degrees"),
    ],
    ids=["too large", "no voxel", "voxel type", "no header", "infinite", "sheared"],
)
def test_a_wrong_header_is_refused(file, offset, damage, words):
    content = bytearray(gzip.decompress(file.read_bytes()))
    content[252:254] = b"\x00\x00"  # the affine alone counts
    content[offset : offset + len(damage)] = damage
    file.write_bytes(gzip.compress(bytes(content)))

    with pytest.raises(ValueError, match=rf"image\.nii\.gz .*({words})"):
        read_image(file)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_header_is_read_or_refused_but_never_ends_otherwise(file, damage):
    content = bytearray(352) + bytes(GRID.size[0] * GRID.size[1] * GRID.size[2] * 4)
    content[:352] = gzip.decompress(file.read_bytes())[:352]
    for offset, value in damage:
        content[offset] = value
    damaged = file.with_name("damaged.nii")
    damaged.write_bytes(bytes(content))

    with contextlib.suppress(ValueError):
        read_image(damaged)


@pytest.mark.parametrize("ending", [".mha", ".nrrd"])
def test_other_formats_are_read_whole_or_not_at_all(file, ending):
    other = file.with_name(f"image{ending}")
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(file)), str(other), True)
    assert read_image(other).GetSize() == GRID.size
    other.write_bytes(other.read_bytes()[:-200])

    with pytest.raises(ValueError, match=f"image{ending} cannot be read"):
        read_image(other)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"ct\.nii\.gz does not exist"):
        read_image(tmp_path / "ct.nii.gz")


def test_a_dicom_folder_is_named_with_the_remedy(tmp_path):
    with pytest.raises(ValueError, match=r"is a folder.*Convert DICOM series to NIfTI first"):
        read_image(tmp_path)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".mha"])
def test_values_that_are_not_finite_are_counted(tmp_path, ending, value, dtype):
    values = ramp(points_mm(GRID)).astype(dtype)
    values[3, 4, 5:7] = value
    file = write(values, GRID, tmp_path / f"pet{ending}")

    with pytest.raises(ValueError, match="has 2 values that are not finite"):
        read_image(file)


def test_not_finite_values_are_counted_once_across_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(nifti, "CHUNK_BYTES", 64)
    values = ramp(points_mm(GRID)).astype(np.float32)
    values[::2] = np.nan

    with pytest.raises(ValueError, match=f"has {5 * 11 * 12} values"):
        read_image(write(values, GRID, tmp_path / "pet.nii.gz"))


def test_a_single_time_point_is_an_image_and_a_series_is_not(file):
    image = SimpleITK.ReadImage(str(file))
    SimpleITK.WriteImage(SimpleITK.JoinSeries(image), str(file))
    assert read_image(file).GetSize() == GRID.size

    SimpleITK.WriteImage(SimpleITK.JoinSeries(image, image), str(file))
    with pytest.raises(ValueError, match="is not one image with three axes"):
        read_image(file)


def test_several_values_per_voxel_are_refused(file):
    image = SimpleITK.ReadImage(str(file))
    SimpleITK.WriteImage(SimpleITK.Compose(image, image), str(file))

    with pytest.raises(ValueError, match="is not one image with three axes"):
        read_image(file)


def test_values_are_those_that_itk_reads(tmp_path):
    """Every stored type, with and without a scale: the files hold 0 to 59."""
    for dtype in ("u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"):
        for order in "<>":
            for slope, intercept in ((1, 0), (2.5, -3), (-1, 1000), (np.nan, np.nan), (0, 0)):
                file = write_nifti(tmp_path / "a.nii", np.arange(60).reshape(3, 4, 5).astype(order + dtype),
                                   scl_slope=slope, scl_inter=intercept)  # fmt: skip
                image, itk = read_image(file), SimpleITK.ReadImage(str(file))

                assert image.GetPixelID() == itk.GetPixelID()
                np.testing.assert_allclose(
                    SimpleITK.GetArrayFromImage(image), SimpleITK.GetArrayFromImage(itk), rtol=1e-6
                )


@pytest.mark.parametrize(("slope", "intercept"), [(0, 5), (np.nan, 5), (1, np.nan)])
def test_a_scale_that_programs_read_differently_is_refused(tmp_path, slope, intercept):
    voxels = np.arange(60, dtype="i2").reshape(3, 4, 5)

    with pytest.raises(UserError, match="has the intercept"):
        read_image(write_nifti(tmp_path / "a.nii", voxels, scl_slope=slope, scl_inter=intercept))


def test_images_of_users_are_read_in_one_place():
    """Elsewhere only files that the same run has written."""
    package = REPOSITORY / "h2aseg_nnunet"
    readers = {str(f.relative_to(package)) for f in package.rglob("*.py") if ".ReadImage(" in f.read_text()}

    assert readers == {
        "petct/images/reading.py",
        "petct/segment/finish.py",
        "petct/challenge/predict.py",
        "demo/run.py",
    }
