import math

import pytest
import torch

from h2aseg_nnunet.petct.robustness.conditions import INTACT, make_conditions

CHANNELS = {"CT": [0], "PET": [1]}
TWO_OF_EACH = {"CT": [0, 2], "PET": [1, 3]}


def conditions(*shifts: float):
    return {condition.name: condition for condition in make_conditions(shifts)}


def test_the_report_starts_with_the_intact_input():
    assert list(conditions(1, 2.5, -4)) == [
        *("intact", "PET_missing", "CT_missing", "CT_shifted_1", "CT_shifted_2.5", "CT_shifted_-4")
    ]


def test_the_intact_input_is_the_input():
    data = torch.randn(2, 3, 4, 5)

    assert INTACT.apply(data, CHANNELS) is data


@pytest.mark.parametrize(("modality", "kept"), [("PET", [0, 2]), ("CT", [1, 3])])
def test_every_channel_of_a_missing_modality_is_its_own_mean_and_the_others_stay(modality, kept):
    data = torch.arange(4 * 8, dtype=torch.float32).reshape(4, 2, 2, 2)
    before = data.clone()

    altered = conditions()[f"{modality}_missing"].apply(data, TWO_OF_EACH)

    for channel in range(4):
        mean = 3.5 + 8 * channel  # of 8 * channel, ..., 8 * channel + 7
        expected = before[channel] if channel in kept else torch.full((2, 2, 2), mean)
        assert torch.equal(altered[channel], expected)
    assert torch.equal(data, before)


@pytest.mark.parametrize("shift", [1, 2, 4, -2])
def test_a_shift_moves_ct_in_the_slice_and_edge_values_come_in(shift):
    data = torch.randn(4, 5, 7, 12)

    altered = conditions(shift)[f"CT_shifted_{shift}"].apply(data, TWO_OF_EACH)

    assert torch.equal(altered[[1, 3]], data[[1, 3]])
    for index in range(12):
        source = min(max(index - shift, 0), 11)
        torch.testing.assert_close(altered[[0, 2], :, :, index], data[[0, 2], :, :, source], atol=1e-5, rtol=0)


def test_half_a_voxel_is_the_mean_of_neighbors():
    data = torch.tensor([[0.0, 2.0, 6.0]] * 2)[:, None, None]

    altered = conditions(0.5)["CT_shifted_0.5"].apply(data, CHANNELS)

    torch.testing.assert_close(altered[0, 0, 0], torch.tensor([0.0, 1.0, 4.0]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("shifts", [(0,), (1, 0), (math.nan,), (math.inf,), (1, 2, 1)])
def test_what_is_no_shift_is_refused(shifts):
    with pytest.raises(ValueError, match="--shifts"):
        make_conditions(shifts)
