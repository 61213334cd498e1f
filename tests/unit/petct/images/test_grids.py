import itertools
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.images.grids import (
    Grid,
    bring_onto,
    crop_to_covered,
    distance_apart,
    require_same_grid,
    same_grid,
)
from tests.unit.petct.convert.synthetic_studies import DIRECTIONS, grid_around, points_mm, ramp

CENTER_MM = np.array([10.0, -20.0, 30.0])


def image_on(grid: Grid) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(ramp(points_mm(grid)).astype(np.float32))
    image.SetSpacing(grid.spacing_mm)
    image.SetOrigin(grid.origin_mm)
    image.SetDirection(grid.direction)
    return image


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_positions_are_itks(direction):
    grid = grid_around(CENTER_MM, (7, 6, 5), (1.0, 2.0, 3.0), direction)
    image = image_on(grid)

    for index in itertools.product((0, 6), (0, 5), (0, 4)):
        np.testing.assert_allclose(grid.to_mm(np.array(index)), image.TransformIndexToPhysicalPoint(index))
        np.testing.assert_allclose(grid.to_index(grid.to_mm(np.array(index))), index, atol=1e-9)


def test_a_new_spacing_keeps_the_corner_of_the_box():
    """4 voxels of 3 mm reach from -1.5 to 10.5 mm: 6 voxels of 2 mm, the first from -1.5 to 0.5 mm."""
    grid = Grid((4, 4, 4), (3.0, 3.0, 3.0), (0.0, 0.0, 0.0), tuple(np.eye(3).ravel()))

    finer = grid.respaced((2.0, 3.0, 5.0))

    assert finer.size == (6, 4, 2)
    np.testing.assert_allclose(finer.origin_mm, (-0.5, 0.0, 1.0))


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_a_new_spacing_never_leaves_the_box(direction):
    grid = grid_around(CENTER_MM, (11, 13, 9), (0.98, 1.7, 3.27), direction)

    corners = np.array(list(itertools.product(*((-0.5, n - 0.5) for n in grid.respaced((3.0, 2.5, 0.8)).size))))
    inside = grid.to_index(grid.respaced((3.0, 2.5, 0.8)).to_mm(corners))

    assert inside.min() > -0.5 - 1e-5
    assert (inside < np.array(grid.size) - 0.5 + 1e-5).all()


def test_a_grid_starts_where_its_part_starts_in_spite_of_rounded_headers():
    grid = grid_around(CENTER_MM, (9, 8, 7), (1.0, 2.0, 3.0), DIRECTIONS["oblique"])
    part = grid.crop((2, 1, 3), (4, 5, 2))
    rounded = part._replace(origin_mm=tuple(np.round(part.origin_mm, 2)))

    assert grid.start_of(grid) == (0, 0, 0)
    assert grid.start_of(rounded) == (2, 1, 3)


@pytest.mark.parametrize(
    "change",
    [
        {"origin_mm": (0.5, 0.0, 0.0)},
        {"spacing_mm": (1.0, 2.0, 3.1)},
        {"direction": tuple(np.diag((-1.0, -1.0, 1.0)).ravel())},
        {"size": (10, 8, 7)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_grid_has_no_start(change):
    grid = Grid((9, 8, 7), (1.0, 2.0, 3.0), (0.0, 0.0, 0.0), tuple(np.eye(3).ravel()))

    assert grid.start_of(grid._replace(**change)) is None


def test_cropping_keeps_every_value_and_its_place():
    grid = grid_around(CENTER_MM, (9, 8, 7), (1.0, 2.0, 3.0), DIRECTIONS["oblique"])
    part = grid.crop((2, 1, 3), (4, 5, 2))

    cropped, action = bring_onto(image_on(grid), part, linear=True)

    assert action == "cropped"
    np.testing.assert_array_equal(
        SimpleITK.GetArrayFromImage(cropped), ramp(points_mm(grid)).astype(np.float32)[3:5, 1:6, 2:6]
    )
    np.testing.assert_allclose(cropped.GetOrigin(), grid.to_mm(np.array((2, 1, 3))))


def test_whole_number_images_are_interpolated_as_real_numbers():
    """Halfway between 0 and 1 lies 0.5, which an integer image could not hold."""
    image = SimpleITK.GetImageFromArray(np.array([[[0, 1]]], dtype=np.int16))
    between = Grid((1, 1, 1), (1.0, 1.0, 1.0), (0.5, 0.0, 0.0), tuple(np.eye(3).ravel()))

    resampled, action = bring_onto(image, between, linear=True)

    assert (action, resampled.GetPixel(0, 0, 0)) == ("resampled", 0.5)


def test_the_covered_region_by_hand():
    """CT voxels at 0, 1, ..., 9 mm; PET from 1.6 to 6.4 mm along x covers the centers 2 to 6."""
    ct = Grid((10, 10, 10), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), tuple(np.eye(3).ravel()))
    pet = Grid((2, 20, 20), (2.4, 1.0, 1.0), (2.8, -5.0, -5.0), tuple(np.eye(3).ravel()))

    covered = crop_to_covered(ct, image_on(pet))

    assert covered.size == (5, 10, 10)
    assert covered.origin_mm == (2.0, 0.0, 0.0)


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_every_voxel_both_cover_is_kept_and_no_empty_border(direction):
    ct = grid_around(CENTER_MM, (24, 20, 16), (1.0, 1.2, 2.0))
    pet = grid_around(CENTER_MM + np.array((4.2, -3.3, 6.1)), (7, 8, 6), (3.0, 2.5, 4.0), direction)

    covered = crop_to_covered(ct, image_on(pet))

    index = pet.to_index(points_mm(ct))
    both = ((index > -0.5) & (index < np.array(pet.size) - 0.5)).all(axis=-1)
    z, y, x = np.nonzero(both)
    start = ct.start_of(covered)
    assert start == (x.min(), y.min(), z.min())
    assert covered.size == (np.ptp(x) + 1, np.ptp(y) + 1, np.ptp(z) + 1)


def test_a_bounding_box_keeps_the_centers_within():
    ct = Grid((10, 10, 10), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), tuple(np.eye(3).ravel()))

    boxed = crop_to_covered(ct, image_on(ct), box_mm=(1.5, -100.0, 3.0, 4.0, 100.0, 3.9))

    assert boxed.origin_mm == (2.0, 0.0, 3.0)
    assert boxed.size == (3, 10, 1)


def test_a_bounding_box_elsewhere_is_refused():
    ct = Grid((10, 10, 10), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), tuple(np.eye(3).ravel()))

    with pytest.raises(ValueError, match=r"bounding box .* lies outside"):
        crop_to_covered(ct, image_on(ct), box_mm=(50.0, 0.0, 0.0, 60.0, 9.0, 9.0))


def test_disjoint_fields_of_view_are_refused():
    ct = grid_around(CENTER_MM, (5, 5, 5), (1.0, 1.0, 1.0))
    pet = grid_around(CENTER_MM + 100, (5, 5, 5), (1.0, 1.0, 1.0))

    with pytest.raises(ValueError, match="do not overlap"):
        crop_to_covered(ct, image_on(pet))


AXIAL = Grid((3, 4, 5), (1.0, 2.0, 3.0), (10.0, 20.0, 30.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))


def test_grids_shifted_along_two_axes_are_apart_by_the_larger_share_of_a_voxel():
    shifted = AXIAL._replace(origin_mm=(10.3, 20.4, 30.0))

    assert distance_apart(AXIAL, shifted) == pytest.approx((0.3, 0.5))  # 0.3 of 1 mm, 0.2 of 2 mm


@pytest.mark.parametrize(("mm", "same"), [(0.0, True), (0.04, True), (0.07, False)])
def test_the_tolerance_is_a_twentieth_of_a_voxel(mm, same):
    assert same_grid(AXIAL, AXIAL._replace(origin_mm=(10.0 + mm, 20.0, 30.0))) is same


def test_a_spacing_that_adds_up_over_the_image_is_another_grid():
    """0.03 voxel from one to the next are 0.12 over five slices."""
    assert not same_grid(AXIAL, AXIAL._replace(spacing_mm=(1.0, 2.0, 3.09)))


def test_another_size_is_another_grid():
    assert not same_grid(AXIAL, AXIAL._replace(size=(3, 4, 4)))


def test_a_grid_is_described_with_its_axes():
    flipped = AXIAL._replace(direction=(-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))

    assert AXIAL.describe() == "3 x 4 x 5 voxels of 1 x 2 x 3 mm from (10, 20, 30), axes LPS"
    assert flipped.describe().endswith("axes RAS")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"size": (3, 4, 4)}, "3 x 4 x 4 voxels of 1 x 2 x 3 mm from (10, 20, 30), axes LPS against 3 x 4 x 5 voxels"),
        ({"origin_mm": (10.0, 20.0, 33.0)}, ": voxels of equal index lie up to 3 mm (1 voxels) apart"),
        (
            {"direction": (-1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)},
            ": axes RPS against LPS, voxels of equal index lie up to 4 mm",
        ),
    ],
)
def test_images_on_two_grids_are_refused_with_how_they_differ(change, part):
    with pytest.raises(UserError) as error:
        require_same_grid(
            Path("a.mha"), image_on(AXIAL._replace(**change)), Path("b.mha"), image_on(AXIAL), "Resample."
        )

    assert str(error.value).startswith("a.mha is not on the grid of b.mha: ") and part in str(error.value)
    assert str(error.value).endswith(" Resample.")
