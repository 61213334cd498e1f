import pytest
import torch
from torch import nn

from h2aseg_nnunet.network.attention import BidirectionalAttention, GlobalAttention
from h2aseg_nnunet.network.mcsa import BetweenWindows, WithinWindows


def update(attention: GlobalAttention, ct: torch.Tensor, pet: torch.Tensor) -> torch.Tensor:
    new_ct, new_pet = attention(ct, pet)
    return torch.cat([new_ct - ct, new_pet - pet])


@torch.no_grad()
def test_what_attention_adds_does_not_grow_with_the_maps_it_reads():
    torch.manual_seed(0)
    ct, pet = torch.randn(2, 1, 8, 4, 4, 4, dtype=torch.float64)
    plain, normalized = GlobalAttention(8).double(), GlobalAttention(8, token_norm=True).double()

    assert update(plain, 100 * ct, 100 * pet).norm() > 50 * update(plain, ct, pet).norm()
    torch.testing.assert_close(
        update(normalized, 100 * ct, 100 * pet), update(normalized, ct, pet), rtol=1e-2, atol=1e-4
    )


@torch.no_grad()
def test_between_windows_what_is_added_does_not_grow_with_the_weights_of_the_merging_convolution():
    """A hundred times larger weights: the plain update drowns the map, the normalised one is what it was."""
    torch.manual_seed(0)
    ct, pet = torch.randn(2, 1, 8, 8, 8, 8)

    def size_of_update(normalized: bool, scale: float) -> float:
        torch.manual_seed(1)
        between_windows = BetweenWindows(nn.Conv3d, 8, (4, 4, 4), dropout=0.0, token_norm=normalized)
        for merge in (between_windows.merge_ct, between_windows.merge_pet):
            merge.weight.mul_(scale)
            merge.bias.mul_(scale)
        return (between_windows(ct, pet)[0].norm() / ct.norm()).item()

    assert size_of_update(False, 100) > 50 * size_of_update(False, 1)
    assert size_of_update(True, 100) == pytest.approx(size_of_update(True, 1), rel=1e-3)
    assert size_of_update(True, 100) < 1


@pytest.mark.parametrize("interaction", ["mcsa", "global"])
def test_attention_normalizes_what_no_norm_has_bounded(make_two_stages, interaction):
    """Each stream by itself, between windows and globally; within windows maps are normalised already."""
    network = make_two_stages(interaction, attention_token_norm=True)

    network(torch.randn(1, 2, 8, 8, 8)).sum().backward()

    attentions = [module for module in network.modules() if isinstance(module, BidirectionalAttention)]
    within = [module.attention for module in network.modules() if isinstance(module, WithinWindows)]
    others = [module.attention for module in network.modules() if isinstance(module, BetweenWindows | GlobalAttention)]
    assert len(attentions) == len(within) + len(others) and others
    for attention in others:
        assert attention.ct_norm is not attention.pet_norm
        assert all(norm.weight.grad.abs().sum() > 0 for norm in (attention.ct_norm, attention.pet_norm))
    assert not any(list(norm.parameters()) for each in within for norm in (each.ct_norm, each.pet_norm))
