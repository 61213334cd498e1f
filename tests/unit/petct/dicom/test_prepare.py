import numpy as np
import pytest
import SimpleITK

from h2aseg_nnunet.petct.dicom.inputs import Input
from h2aseg_nnunet.petct.dicom.prepare import How, onto_own_grid, prepare
from h2aseg_nnunet.petct.images.grids import Grid


def write(file, array, spacing_mm, origin_mm=(0.0, 0.0, 0.0), direction=None):
    image = SimpleITK.GetImageFromArray(np.asarray(array, np.float32))
    image.SetSpacing(spacing_mm)
    image.SetOrigin(origin_mm)
    if direction:
        image.SetDirection(direction)
    SimpleITK.WriteImage(image, str(file))
    return file


@pytest.fixture
def pair(tmp_path):
    """CT of 2 mm with the height in it, from -1 to 31 mm, and PET of 4 mm from 0 to 28 mm."""
    z = np.arange(16)[:, None, None] * np.ones((1, 16, 16))
    ct = write(tmp_path / "ct.nii.gz", 2 * z, (2.0, 2.0, 2.0))
    pet = write(tmp_path / "pet.nii.gz", np.ones((7, 7, 7)), (4.0, 4.0, 4.0), (2.0, 2.0, 2.0))
    return Input("case", None, (ct, pet))


@pytest.mark.parametrize(
    ("grid", "spacing_mm", "size"),
    [("pet", (4.0,) * 3, (7, 7, 7)), ("ct", (2.0,) * 3, (14, 14, 14)), ("3", (3.0,) * 3, (10, 10, 10))],
)
def test_ct_and_pet_come_onto_the_grid_that_is_asked_for(pair, tmp_path, grid, spacing_mm, size):
    prepared = prepare(pair, How(grid, tmp_path / "images"))

    ct, pet = (SimpleITK.ReadImage(str(file)) for file in prepared.images)
    assert ct.GetSpacing() == pet.GetSpacing() == pytest.approx(spacing_mm)
    assert ct.GetSize() == pet.GetSize() == size
    here = ct.TransformPhysicalPointToIndex((8.0, 8.0, 8.0))
    height_mm = ct.TransformIndexToPhysicalPoint(here)[2]
    assert ct[here] == pytest.approx(height_mm)  # the CT holds its own height


def test_the_mask_is_delivered_on_the_pets_own_grid(pair, tmp_path):
    prepared = prepare(pair, How("pet", tmp_path / "images"))
    mask = SimpleITK.ReadImage(str(prepared.images[1])) > 0

    own = onto_own_grid(mask, prepared.own_grid)

    assert Grid.of(own) == Grid.of(SimpleITK.ReadImage(str(pair.images[1])))
    assert SimpleITK.GetArrayFromImage(own).all()


def test_nnunet_images_are_not_copied(tmp_path):
    files = tuple(write(tmp_path / f"a_000{c}.nii.gz", np.ones((4, 4, 4)), (2.0, 2.0, 2.0)) for c in (0, 1))

    prepared = prepare(Input("a", None, files, on_one_grid=True), How("pet", tmp_path / "images"))

    assert prepared.images == files
    assert not (tmp_path / "images").exists()


def test_coronal_slices_are_turned_for_the_network_and_back_for_the_user(tmp_path):
    coronal = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, -1.0, 0.0)  # slices run to the front, rows to the head
    array = np.zeros((4, 5, 6))
    array[1, 2, 3] = 1
    files = tuple(
        write(tmp_path / f"a_000{c}.nii.gz", array, (1.0, 2.0, 3.0), (10.0, 20.0, 30.0), coronal) for c in (0, 1)
    )

    prepared = prepare(Input("a", None, files, on_one_grid=True), How("pet", tmp_path / "images"))

    turned = SimpleITK.ReadImage(str(prepared.images[0]))
    np.testing.assert_allclose(turned.GetDirection(), np.eye(3).ravel(), atol=1e-6)
    assert "not axial" in prepared.notes[0]
    back = onto_own_grid(turned > 0, prepared.own_grid)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(back), array)
