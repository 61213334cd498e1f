import math

import pytest
import torch
from torch import nn

from h2aseg_nnunet.network.attention import CrossModalAttention
from h2aseg_nnunet.network.h2aseg import H2ASeg
from h2aseg_nnunet.network.tamw import ChannelGains
from studies.saturation import focus_of, measure_focus, measure_gain_spread, measure_updates


def test_hand_worked_focus():
    """Scores 1 and -1 for one query, 0 and 0 for the other; k = 4 halves the products."""
    query = torch.zeros(1, 1, 2, 4)
    query[0, 0, 0, 0] = 1
    key = torch.zeros(1, 1, 2, 4)
    key[0, 0, :, 0] = torch.tensor([2.0, -2.0])

    focus = focus_of(query, key, mask=None)

    assert focus.score_std == pytest.approx(math.sqrt(2) / 2)
    assert focus.largest_weight == pytest.approx((1 / (1 + math.exp(-2)) + 0.5) / 2)


def test_masked_tokens_neither_read_nor_are_read():
    tokens = torch.randn(1, 2, 5, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[[True] * 3 + [False] * 2, [True] * 3 + [False] * 2]])

    masked, cropped = focus_of(tokens, 100 * tokens, mask), focus_of(tokens[:, :, :3], 100 * tokens[:, :, :3], None)

    assert masked == cropped


def test_every_attention_is_measured_in_both_directions():
    """Queries of zero: no score differs, and each of 4 x 4 x 4 tokens has a weight of 1 / 64."""
    network = H2ASeg(2, 2, [8, 16], nn.Conv3d, 3, 2, 2, patch_size=(8, 8, 8))
    for module in network.modules():
        if isinstance(module, CrossModalAttention):
            nn.init.zeros_(module.from_target.weight)

    found = measure_focus(network, [torch.randn(1, 2, 8, 8, 8), torch.randn(2, 2, 8, 8, 8)])

    attention = "encoder.stages.1.interaction.attention"
    assert sorted(found) == [
        f"{attention}.{direction}, {reads}"
        for direction in ("ct_reads_pet", "pet_reads_ct")
        for reads in ("itself", "the other")
    ]
    assert all(focus.score_std == 0 and focus.largest_weight == pytest.approx(1 / 64) for focus in found.values())
    assert not any(module._forward_hooks for module in network.modules())


def test_what_attention_adds_is_measured_against_the_stream():
    """Output projections three times as large add three times as much; the stream of the first one is as before."""
    network = H2ASeg(2, 3, [8, 16, 16], nn.Conv3d, 3, 2, 2, patch_size=(32, 32, 36))
    images = [torch.randn(1, 2, 32, 32, 36, generator=torch.Generator().manual_seed(0))]

    before = measure_updates(network, images)
    for module in network.modules():
        if isinstance(module, CrossModalAttention):
            module.out.weight.data.mul_(3)
    after = measure_updates(network, images)

    first, second = (f"encoder.stages.{stage}.interaction" for stage in (1, 2))
    assert list(before) == [
        f"{name}, {stream}"
        for name in (f"{first}.between_windows", f"{first}.within_windows", second)
        for stream in ("CT", "PET")
    ]
    assert min(before.values()) > 0
    for name in list(before)[:2]:
        assert after[name] == pytest.approx(3 * before[name], rel=1e-4)


def test_saturated_gains_are_the_same_for_every_patch():
    torch.manual_seed(0)
    network = H2ASeg(2, 2, [8, 16], nn.Conv3d, 3, 2, 2, patch_size=(8, 8, 8))
    images = [torch.randn(2, 2, 8, 8, 8) for _ in range(2)]

    before = measure_gain_spread(network, images)
    for module in network.modules():
        if isinstance(module, ChannelGains):
            nn.init.constant_(module.fc1.bias, 100)
            nn.init.constant_(module.fc2.bias, -100)
    after = measure_gain_spread(network, images)

    assert list(before) == ["decoder.stages.0.tamw.tumor_gains", "decoder.stages.0.tamw.background_gains"]
    assert all(0 < gains.magnitude < 0.9 and gains.std_over_patches > 0 for gains in before.values())
    assert all(gains == (1, 0) for gains in after.values())
