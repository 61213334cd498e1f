from types import SimpleNamespace

import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from h2aseg_nnunet.petct.nnunet.sliding import window_around


@pytest.fixture
def predictor() -> nnUNetPredictor:
    """Windows of 4 x 4 voxels in steps of half a window."""
    made = nnUNetPredictor(tile_step_size=0.5, device=torch.device("cpu"))
    made.configuration_manager = SimpleNamespace(patch_size=[4, 4])
    return made


def test_the_window_is_the_one_with_the_voxel_nearest_to_its_center(predictor):
    """Rows 0 to 5 are covered by windows from row 0 and from row 2."""
    data = torch.arange(3 * 6 * 4.0).reshape(1, 3, 6, 4)

    first, second = (window_around(predictor, data, (1, row, 2)) for row in (2, 3))

    assert (first.place, first.voxel) == ((1, slice(0, 4), slice(0, 4)), (2, 2))
    assert (second.place, second.voxel) == ((1, slice(2, 6), slice(0, 4)), (1, 2))
    assert torch.equal(second.patch, data[:, 1, 2:6])


def test_what_is_cut_out_of_a_window_is_pasted_back_to_its_place(predictor):
    window = window_around(predictor, torch.zeros(1, 3, 6, 4), (1, 5, 0))
    volume = torch.arange(3 * 6 * 4.0).reshape(3, 6, 4)

    pasted = window.paste(window.cut(volume))

    assert torch.equal(pasted[1, 2:], volume[1, 2:])
    assert pasted[0].sum() == pasted[2].sum() == pasted[1, :2].sum() == 0


def test_an_image_smaller_than_the_window_is_padded_on_both_sides(predictor):
    window = window_around(predictor, torch.ones(1, 1, 2, 4), (0, 1, 3))

    assert window.voxel == (2, 3)
    assert window.patch[0].sum(1).tolist() == [0, 4, 4, 0]
    assert window.cut(torch.ones(1, 2, 4)).sum() == 8
    assert window.paste(torch.ones(4, 4)).shape == (1, 2, 4)
