"""A NIfTI header may state several positions, and programs differ in which they believe."""

import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.images.errors import PositionError
from h2aseg_nnunet.petct.images.reading import read_image
from tests.unit.petct.images.niftis import AXIAL, write_nifti

VOXELS = np.zeros((6, 5, 4), np.float32)


def moved(mm):
    affine = AXIAL.copy()
    affine[2, 3] += mm
    return affine


def sheared(degrees):
    affine = AXIAL.copy()
    affine[1, 2] = 4 * np.tan(np.radians(degrees))
    return affine


def read(tmp_path, *args, **kwargs):
    return read_image(write_nifti(tmp_path / "image.nii", VOXELS, *args, **kwargs))


@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (1, 1), (1, 2), (2, 2), (0, 4), (3, 3)])
def test_one_position_under_any_code_is_read(tmp_path, codes):
    image = read(tmp_path, codes=codes)

    assert image.GetOrigin() == (-50, -60, 100)
    assert image.GetSpacing() == (4, 4, 4)
    assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)


@pytest.mark.parametrize("codes", [(1, 1), (1, 2), (2, 1), (4, 4)])
@pytest.mark.parametrize("mm", [12, -0.3])
def test_two_positions_that_differ_are_refused_under_any_code(tmp_path, codes, mm):
    with pytest.raises(PositionError, match=rf"sform and qform that place voxels up to {abs(mm)} mm apart.*set_qform"):
        read(tmp_path, qform=AXIAL, sform=moved(mm), codes=codes)


def test_a_position_that_does_not_count_may_differ(tmp_path):
    assert read(tmp_path, sform=moved(12), codes=(0, 1)).GetOrigin() == (-50, -60, 112)
    assert read(tmp_path, sform=moved(12), codes=(1, 0)).GetOrigin() == (-50, -60, 100)


def test_positions_that_differ_by_the_rounding_of_a_quaternion_are_one(tmp_path):
    """0.03 degrees beside a half turn are lost in a quaternion of single precision; the matrix has them."""
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(5e-4), -np.sin(5e-4)], [np.sin(5e-4), np.cos(5e-4)]]
    affine = turn @ AXIAL

    image = read(tmp_path, qform=affine, sform=affine)

    point = image.TransformIndexToPhysicalPoint((3, 4, 5))
    np.testing.assert_allclose(point, (affine @ (3, 4, 5, 1))[:3] * (-1, -1, 1), atol=1e-3)


def test_no_position_is_refused(tmp_path):
    with pytest.raises(PositionError, match="states no position: qform_code and sform_code are 0"):
        read(tmp_path, codes=(0, 0))


@pytest.mark.parametrize("codes", [(1, 1), (0, 1)])
@pytest.mark.parametrize("degrees", [15, 1])
def test_a_sheared_image_is_refused(tmp_path, codes, degrees):
    with pytest.raises(PositionError, match=f"not at right angles, by {degrees} degrees.*gantry tilt.*Resample"):
        read(tmp_path, sform=sheared(degrees), codes=codes)


@pytest.mark.parametrize("codes", [(1, 1), (0, 1), (1, 0)])
@pytest.mark.parametrize("size", [0, -4])
def test_a_voxel_size_that_is_not_positive_is_refused(tmp_path, codes, size):
    with pytest.raises(PositionError, match=rf"voxel size of 4 x {size} x 4 mm.*more than 0"):
        read(tmp_path, codes=codes, pixdim=[1, 4, size, 4, 0, 0, 0, 0])


def test_a_voxel_size_unlike_the_matrix_is_refused(tmp_path):
    with pytest.raises(PositionError, match=r"sform and voxel size \(pixdim\) that place voxels up to"):
        read(tmp_path, codes=(0, 1), pixdim=[1, 1, 1, 1, 0, 0, 0, 0])


def test_a_matrix_without_a_third_axis_is_refused(tmp_path):
    with pytest.raises(PositionError, match=r"voxel size of 0 mm \(sform\)"):
        read(tmp_path, codes=(0, 1), srow_z=[0, 0, 0, 100])


@pytest.mark.parametrize(("unit", "name"), [(1, "m"), (3, "um"), (5, "5")])
def test_other_units_than_mm_are_refused(tmp_path, unit, name):
    with pytest.raises(PositionError, match=f"in the unit {name}[ ,].*mm"):
        read(tmp_path, xyzt_units=unit)


def test_a_qfac_of_0_stands_for_1(tmp_path):
    assert read(tmp_path, codes=(1, 0), pixdim=[0, 4, 4, 4, 0, 0, 0, 0]).GetOrigin() == (-50, -60, 100)


@pytest.mark.parametrize("magic", [b"ni1", b"\0"])
def test_analyze_files_and_halves_of_pairs_are_refused(tmp_path, magic):
    with pytest.raises(UserError, match="is no NIfTI file of header and voxels in one"):
        read(tmp_path, magic=magic)


def test_nifti_2_is_refused_with_the_remedy(tmp_path):
    nibabel.save(nibabel.Nifti2Image(VOXELS, AXIAL), tmp_path / "image.nii.gz")

    with pytest.raises(UserError, match=r"is a NIfTI-2 file, .*Save it as NIfTI-1"):
        read_image(tmp_path / "image.nii.gz")


def test_extensions_between_header_and_voxels_are_passed_over(tmp_path):
    voxels = np.arange(60, dtype=np.int16).reshape(5, 4, 3)
    image = nibabel.Nifti1Image(voxels, AXIAL)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"a" * 100))
    nibabel.save(image, tmp_path / "image.nii.gz")

    read = read_image(tmp_path / "image.nii.gz")

    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(read).T, voxels)
    assert read.GetOrigin() == (-50, -60, 100)


def test_a_size_that_cannot_be_takes_no_memory(tmp_path):
    file = write_nifti(tmp_path / "image.nii", VOXELS, dim=[3, 32767, 32767, 32767, 1, 1, 1, 1])
    zipped = tmp_path / "image.nii.gz"
    zipped.write_bytes(gzip.compress(file.read_bytes()))

    for name in (file, zipped):
        with pytest.raises(UserError, match="is incomplete: it holds 480 of 140724603846652"):
            read_image(name)


numbers = st.floats(-1000, 1000, allow_nan=False, width=32)
spacings = st.floats(np.float32(0.05).item(), 50, allow_nan=False, width=32)
angles = st.one_of(st.sampled_from([0, np.pi / 2, np.pi, -np.pi / 2]), st.floats(-4, 4))
codes = st.integers(0, 4)


@st.composite
def affines(draw):
    """Rotated, flipped and shifted grids, and now and then any matrix at all."""
    affine = np.eye(4)
    if draw(st.integers(0, 4)) == 0:
        affine[:3] = np.reshape(draw(st.lists(numbers, min_size=12, max_size=12)), (3, 4))
        return affine
    for first, second in ((0, 1), (0, 2), (1, 2)):
        angle, turn = draw(angles), np.eye(4)
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        affine = affine @ turn
    steps = draw(st.lists(spacings, min_size=3, max_size=3))
    flips = draw(st.lists(st.sampled_from([-1, 1]), min_size=3, max_size=3))
    affine[:3, :3] *= np.multiply(steps, flips)
    affine[:3, 3] = draw(st.lists(numbers, min_size=3, max_size=3))
    return affine


@settings(deadline=None, max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sform=affines(),
    qform=st.sampled_from([None, None, moved(5)]) | affines(),
    header_codes=st.tuples(codes, codes),
    zooms=st.sampled_from([None, None, None]) | st.lists(st.sampled_from([0.0, 1.0, 2.5]), min_size=3, max_size=3),
    unit=st.sampled_from([0, 2, 2, 2, 2, 2, 2, 2, 1, 3]),
    dtype=st.sampled_from(["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "f4", "f4", "c8", ">i2", ">f4"]),
    slope=st.sampled_from([None, (2.0, 0.0), (0.5, 10.0), (-1.0, 100.0), (0.0, 5.0)]),
    ending=st.sampled_from([".nii", ".nii.gz"]),
    size=st.tuples(st.integers(1, 300), st.integers(1, 4), st.integers(1, 9)),
    data=st.data(),
)
def test_the_hottest_voxel_is_where_nibabel_puts_it_or_the_file_is_refused(
    tmp_path, sform, qform, header_codes, zooms, unit, dtype, slope, ending, size, data
):
    hottest = tuple(data.draw(st.integers(0, n - 1)) for n in size)
    voxels = np.zeros(size, dtype)
    voxels[hottest] = 100
    image = nibabel.Nifti1Image(voxels, None, dtype=voxels.dtype)
    header = image.header
    try:
        header.set_qform(sform if qform is None else qform, header_codes[0])
        header.set_sform(sform, header_codes[1])
    except (nibabel.spatialimages.HeaderDataError, np.linalg.LinAlgError, ValueError, RuntimeWarning):
        assume(False)  # nibabel writes no such header
    if zooms is not None:
        header["pixdim"][1:4] = zooms
    header["xyzt_units"] = unit
    file = tmp_path / f"image{ending}"
    nibabel.save(nibabel.Nifti1Image(voxels, None, header, dtype=voxels.dtype), file)
    if slope is not None:
        write_scale(file, slope)

    try:
        found = read_image(file)
    except UserError as error:
        assert str(file) in str(error)
        return

    values = SimpleITK.GetArrayFromImage(found).T
    other = nibabel.load(file)
    np.testing.assert_allclose(values, other.get_fdata(), rtol=1e-5)
    point = nibabel.affines.apply_affine(other.affine, hottest) * (-1, -1, 1)
    np.testing.assert_allclose(found.TransformIndexToPhysicalPoint(hottest), point, atol=0.1)


def write_scale(file, scale):
    content = file.read_bytes() if file.suffix == ".nii" else gzip.decompress(file.read_bytes())
    order = "<" if int.from_bytes(content[:4], "little") == 348 else ">"
    content = content[:112] + np.array(scale, order + "f4").tobytes() + content[120:]
    file.write_bytes(content if file.suffix == ".nii" else gzip.compress(content))
