import pytest
import torch

from h2aseg_nnunet.explain.attention import attention_weights, read_attention
from h2aseg_nnunet.network.attention import CrossModalAttention
from tests.models import make_network, make_plans

SIZE = (13, 16, 12)  # neither strides nor windows divide it


@pytest.fixture
def network():
    return make_network(make_plans()).eval()


@pytest.fixture
def x():
    return torch.randn(1, 2, *SIZE, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_weights_are_those_of_the_networks_own_attention():
    """Values weighed by them and projected are the module's output."""
    torch.manual_seed(0)
    attention = CrossModalAttention(8, reduction=4)
    target, source = torch.randn(1, 3, 5, 8), torch.randn(1, 3, 5, 8)
    mask = torch.ones(1, 3, 5, dtype=torch.bool)
    mask[0, 1, 3:] = False

    own, other = attention_weights(attention, target, source, mask, window=1, token=2)

    value_target = attention.from_target(target)[0, 1].split(attention.target_parts, -1)[-1]
    value_source = attention.from_source(source)[0, 1].split(attention.source_parts, -1)[-1]
    read = attention.out((own @ value_target + other @ value_source) / 2)
    torch.testing.assert_close(read, attention(target, source, mask)[0, 1, 2])
    assert own[3:].tolist() == other[3:].tolist() == [0, 0]


def test_every_attention_gives_four_maps_of_the_patch(network, x):
    maps = read_attention(network, x, (6, 8, 5))

    assert [(each.stage, each.span) for each in maps[::4]] == [
        (2, "between windows"),
        (2, "within window"),
        (3, "global"),
    ]
    assert [(each.reader, each.source) for each in maps[:4]] == [
        ("CT", "CT"),
        ("CT", "PET"),
        ("PET", "PET"),
        ("PET", "CT"),
    ]
    assert all(each.weights.shape == SIZE for each in maps)
    assert not any(module._forward_hooks for module in network.modules())


def test_a_token_without_preference_reads_one_everywhere_it_may(network, x):
    """Queries of zero make every weight equal: 1 in the window of the voxel, 0 outside."""
    for module in network.modules():
        if isinstance(module, CrossModalAttention):
            torch.nn.init.zeros_(module.from_target.weight)

    for each in read_attention(network, x, (12, 0, 11)):
        torch.testing.assert_close(each.weights, each.readable.float())
        assert each.readable[12, 0, 11]
        if each.span != "within window":
            assert each.readable.all()


def test_within_windows_the_voxels_own_window_is_read(network, x):
    """Stage 2 has 7 x 8 x 6 positions in windows of 4: the last window along the first axis holds 3 of them."""
    within = [each for each in read_attention(network, x, (12, 0, 0)) if each.span == "within window"]

    occupied = within[0].readable.nonzero()
    assert occupied.min(0).values.tolist() == [7, 0, 0]  # 13 voxels in 7 blocks: the center of voxel 7 is in block 4
    assert occupied.max(0).values.tolist() == [12, 7, 7]


def test_shares_in_a_mask(network, x):
    for module in network.modules():
        if isinstance(module, CrossModalAttention):
            torch.nn.init.zeros_(module.from_target.weight)
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[:, :4] = True

    read_globally = read_attention(network, x, (0, 0, 0))[-1]

    assert read_globally.share_in(mask) == pytest.approx(0.25)
    assert read_globally.readable_share_of(mask) == pytest.approx(0.25)
