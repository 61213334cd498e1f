import numpy as np
import pytest
import torch

from h2aseg_nnunet.petct.perturb import move_rigidly, without
from tests.blobs import blob, center_of_mass

CUBES = (1.0, 1.0, 1.0)


def test_nothing_moves_by_nothing():
    for image in (torch.randn(2, 5, 6, 7), torch.randn(2, 6, 7)):
        angles, still = ([0] * 3, [0] * 3) if image.ndim == 4 else ([0], [0, 0])
        torch.testing.assert_close(move_rigidly(image, angles, still, CUBES[: image.ndim - 1]), image)


def test_a_shift_by_whole_voxels_repeats_the_edge():
    volume = torch.arange(5.0).expand(1, 2, 3, 5)

    moved = move_rigidly(volume, [0, 0, 0], [0, 0, 2], CUBES)

    torch.testing.assert_close(moved, torch.tensor([0.0, 0, 0, 1, 2]).expand(1, 2, 3, 5))


@pytest.mark.parametrize(
    ("axis", "start", "end"),
    [(0, (0, 4, 0), (0, 0, 4)), (1, (0, 0, 4), (4, 0, 0)), (2, (4, 0, 0), (0, 4, 0))],
)
def test_a_quarter_turn_about_each_axis(axis, start, end):
    """The next axis but one goes to the next: right-handed in the order of axes."""
    volume = blob((21, 21, 21), np.add(start, 10))[None]
    angles = np.zeros(3)
    angles[axis] = 90

    moved = move_rigidly(volume, angles, [0, 0, 0], CUBES)

    np.testing.assert_allclose(center_of_mass(moved[0]) - 10, end, atol=1e-3)


def test_a_slice_turns_as_a_volume_does_about_its_first_axis():
    volume = torch.randn(2, 1, 12, 15)

    slices = move_rigidly(volume[:, 0], [20], [1.5, -0.5], (2, 3))

    torch.testing.assert_close(slices, move_rigidly(volume, [20, 0, 0], [0, 1.5, -0.5], (5, 2, 3))[:, 0])


def test_rotation_is_rigid_in_millimeters():
    """8 mm along the first axis are 4 voxels; turned by a quarter, 8 mm along the second are 8 voxels."""
    image = blob((21, 41), (10 + 4, 20))[None]

    moved = move_rigidly(image, [90], [0, 0], spacing_mm=(2.0, 1.0))

    np.testing.assert_allclose(center_of_mass(moved[0]) - (10, 20), (0, 8), atol=1e-2)


def test_channels_left_out_hold_their_own_mean():
    image = torch.tensor([[1.0, 3.0], [5.0, 9.0], [0.0, 4.0]])

    assert without(image, [0, 2]).tolist() == [[2, 2], [5, 9], [2, 2]]
    assert image.tolist() == [[1, 3], [5, 9], [0, 4]]
