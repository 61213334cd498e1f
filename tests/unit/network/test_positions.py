import math

import pytest
import torch
from torch import nn

from h2aseg_nnunet.network.attention import BidirectionalAttention, CrossModalAttention, GlobalAttention
from h2aseg_nnunet.network.positions import encode_positions


def test_hand_worked_encoding():
    """9 channels on a plane: wavelengths 2 pi and 2 pi * 10 on both axes, sines, cosines, one channel left over."""
    given = encode_positions((2, 3), 9, like=torch.zeros(1, dtype=torch.float64))

    y, x = 1, 2  # the last token
    angles = [y, y / 10, x, x / 10]
    expected = [*map(math.sin, angles), *map(math.cos, angles), 0]
    torch.testing.assert_close(given[-1], torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0)
    assert given[0].tolist() == [0] * 4 + [1] * 4 + [0]


def test_products_tell_the_distance_only():
    encoding = encode_positions((20,), 8, like=torch.zeros(1))
    products = encoding @ encoding.T

    for distance in range(20):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))
    assert products.argmax(1).tolist() == list(range(20))


def test_fewer_channels_than_sines_and_cosines_have_none():
    assert not encode_positions((2, 2, 2), 5, like=torch.zeros(1)).any()


def test_projecting_tokens_and_positions_apart_is_projecting_their_sum():
    torch.manual_seed(0)
    attention = CrossModalAttention(8, reduction=4).double()
    target, source = torch.randn(2, 1, 3, 6, 8, dtype=torch.float64)
    positions = encode_positions((2, 3), 8, like=target)

    given = attention(target=target, source=source, positions=positions)

    torch.testing.assert_close(given, attention(target=target + positions, source=source + positions))


@pytest.mark.parametrize("positions", [False, True])
def test_attention_without_positions_does_not_see_the_order_of_tokens(positions):
    torch.manual_seed(0)
    attention = BidirectionalAttention(8, positions=positions)
    ct, pet = torch.randn(2, 1, 1, 6, 8)
    order = torch.tensor([3, 1, 5, 0, 2, 4])

    ct_update, _ = attention(ct=ct, pet=pet, size=(6,))
    shuffled, _ = attention(ct=ct[:, :, order], pet=pet[:, :, order], size=(6,))

    assert torch.allclose(shuffled, ct_update[:, :, order], atol=1e-6) is not positions


def test_what_is_added_to_stays_as_it_was():
    """Only the update depends on positions: with a zero output projection nothing is added."""
    attention = GlobalAttention(8, positions=True)
    for direction in (attention.attention.ct_reads_pet, attention.attention.pet_reads_ct):
        nn.init.zeros_(direction.out.weight)
    ct, pet = torch.randn(2, 1, 8, 3, 4)

    assert torch.equal(attention(ct=ct, pet=pet)[0], ct)


@pytest.mark.parametrize("interaction", ["mcsa", "global"])
def test_a_network_with_positions_has_the_same_weights_and_other_logits(make_two_stages, interaction):
    def make(positions):
        torch.manual_seed(0)
        return make_two_stages(interaction, attention_positions=positions)

    without, network = make(False), make(True)
    image = torch.randn(1, 2, 8, 8, 8)

    network.load_state_dict(without.state_dict())
    assert not torch.allclose(network(image), without(image))
