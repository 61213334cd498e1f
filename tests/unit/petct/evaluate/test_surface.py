import importlib.util

import numpy as np
import pytest

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.evaluate import surface
from h2aseg_nnunet.petct.evaluate.surface import hd95_mm, normalized_surface_dice

SPACING_MM = (5.0, 2.0, 1.0)
needs_monai = pytest.mark.skipif(importlib.util.find_spec("monai") is None, reason="MONAI is not installed")


def voxel(z, y, x):
    mask = np.zeros((6, 7, 8), np.uint8)
    mask[z, y, x] = 1
    return mask


def cube():
    mask = np.zeros((10, 11, 12), np.uint8)
    mask[3:6, 3:7, 3:8] = 1
    return mask


@needs_monai
@pytest.mark.parametrize(("axis", "expected_mm"), [(0, 5), (1, 2), (2, 1)])
def test_one_voxel_away_is_the_spacing_of_that_axis(axis, expected_mm):
    assert hd95_mm(cube(), np.roll(cube(), 1, axis), SPACING_MM) == pytest.approx(expected_mm)


@needs_monai
def test_distance_of_two_voxels_is_that_of_their_centers():
    assert hd95_mm(voxel(1, 1, 1), voxel(2, 3, 5), SPACING_MM) == pytest.approx(np.sqrt(5**2 + 4**2 + 4**2))


@needs_monai
def test_the_larger_direction_counts():
    near, far = voxel(1, 1, 1), voxel(1, 1, 1) + voxel(1, 1, 6)

    assert hd95_mm(near, far, SPACING_MM) == hd95_mm(far, near, SPACING_MM) == pytest.approx(0.95 * 5)


@needs_monai
def test_surfaces_agree_from_the_tolerance_on():
    moved = np.roll(cube(), 1, axis=0)

    assert normalized_surface_dice(cube(), moved, SPACING_MM, tolerance_mm=4.9) < 0.9
    assert normalized_surface_dice(cube(), moved, SPACING_MM, tolerance_mm=5) == 1


@needs_monai
def test_equal_masks_agree_at_tolerance_zero_even_at_the_border():
    full = np.ones((3, 3, 3))

    assert hd95_mm(full, full, SPACING_MM) == 0
    assert normalized_surface_dice(full, full, SPACING_MM, tolerance_mm=0) == 1


@needs_monai
def test_position_in_the_volume_does_not_matter():
    moved = [np.roll(mask, (2, 1, 3), axis=(0, 1, 2)) for mask in (cube(), np.roll(cube(), 1, axis=2))]

    assert hd95_mm(*moved, SPACING_MM) == pytest.approx(1)
    assert normalized_surface_dice(*moved, SPACING_MM, 0.5) == pytest.approx(
        normalized_surface_dice(cube(), np.roll(cube(), 1, axis=2), SPACING_MM, 0.5)
    )


@pytest.mark.parametrize(
    ("reference", "prediction", "agreement"),
    [(0 * cube(), cube(), 0.0), (cube(), 0 * cube(), 0.0), (0 * cube(), 0 * cube(), np.nan)],
)
def test_empty_masks(reference, prediction, agreement):
    assert np.isnan(hd95_mm(reference, prediction, SPACING_MM))
    assert normalized_surface_dice(reference, prediction, SPACING_MM, 1) == pytest.approx(agreement, nan_ok=True)


@pytest.mark.parametrize("tolerance_mm", [-1, np.nan, np.inf])
def test_an_impossible_tolerance_is_refused(tolerance_mm):
    with pytest.raises(ValueError, match="tolerance_mm"):
        normalized_surface_dice(cube(), cube(), SPACING_MM, tolerance_mm)


def test_without_monai_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(surface, "find_spec", lambda name: None)

    with pytest.raises(UserError, match="pip install monai"):
        hd95_mm(cube(), cube(), SPACING_MM)
