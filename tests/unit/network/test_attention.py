import pytest
import torch

from h2aseg_nnunet.network.attention import BidirectionalAttention, CrossModalAttention, GlobalAttention


def literal(attention: CrossModalAttention, target: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """The formula, one projection and one softmax at a time."""
    key, channels = attention.target_parts[0], attention.target_parts[-1]
    query_own, query_other, key_own, value_own = attention.from_target.weight.split([key, key, key, channels])
    key_other, value_other = attention.from_source.weight.split([key, channels])

    def read(query, key_weight, value, memory):
        scores = (target @ query.T) @ (memory @ key_weight.T).mT / key_weight.shape[0] ** 0.5
        return scores.softmax(-1) @ (memory @ value.T)

    mean = (read(query_own, key_own, value_own, target) + read(query_other, key_other, value_other, source)) / 2
    return mean @ attention.out.weight.T


@pytest.mark.parametrize("reduction", [1, 4])
def test_attention_equals_its_formula(reduction):
    torch.manual_seed(0)
    attention = CrossModalAttention(8, reduction).double()
    target, source = torch.randn(2, 2, 3, 5, 8, dtype=torch.float64)

    given = attention(target=target, source=source)

    torch.testing.assert_close(given, literal(attention, target, source), rtol=1e-10, atol=1e-12)


def test_masked_positions_are_never_read():
    torch.manual_seed(0)
    attention = CrossModalAttention(8, 4).double()
    target, source = torch.randn(2, 3, 2, 5, 8, dtype=torch.float64)  # 3 images of 2 windows, the second one ragged
    mask = torch.tensor([[[True] * 5, [True, True, True, False, False]]])

    given = attention(target=target, source=source, mask=mask)

    whole, ragged = (slice(None), slice(0, 1)), (slice(None), slice(1, 2), slice(0, 3))
    torch.testing.assert_close(given[whole], attention(target=target[whole], source=source[whole]))
    torch.testing.assert_close(given[ragged], attention(target=target[ragged], source=source[ragged]))


def test_both_streams_read_the_streams_as_they_came_in():
    torch.manual_seed(0)
    attention = BidirectionalAttention(8)
    ct, pet = torch.randn(2, 1, 1, 5, 8)

    ct_update, pet_update = attention(ct=ct, pet=pet)

    torch.testing.assert_close(ct_update, attention.ct_reads_pet(target=ct, source=pet))
    torch.testing.assert_close(pet_update, attention.pet_reads_ct(target=pet, source=ct))
    assert not torch.allclose(ct_update, attention.pet_reads_ct(target=ct, source=pet))


def test_global_attention_adds_to_its_input_and_keeps_positions():
    torch.manual_seed(0)
    attention = GlobalAttention(4)
    ct, pet = torch.randn(2, 1, 4, 2, 3, 5)

    ct_out, _ = attention(ct=ct, pet=pet)
    for direction in (attention.attention.ct_reads_pet, attention.attention.pet_reads_ct):
        torch.nn.init.zeros_(direction.out.weight)
    ct_same, pet_same = attention(ct=ct, pet=pet)

    assert not torch.allclose(ct_out, ct)
    assert torch.equal(ct_same, ct) and torch.equal(pet_same, pet)


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    attention = CrossModalAttention(8, dropout=0.5)
    tokens = torch.randn(1, 1, 5, 8)

    assert not torch.equal(attention(tokens, tokens), attention(tokens, tokens))
    attention.eval()
    assert torch.equal(attention(tokens, tokens), attention(tokens, tokens))


def test_too_few_channels_are_refused():
    with pytest.raises(ValueError, match=r"channels=2.*reduction=4"):
        CrossModalAttention(2, reduction=4)
