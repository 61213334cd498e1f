import pytest
import torch

from h2aseg_nnunet.network.attention import CrossModalAttention
from studies.trainers import qk_norm


def make_attention(normalized: bool) -> CrossModalAttention:
    torch.manual_seed(0)
    attention = CrossModalAttention(8, reduction=2)
    if normalized:
        qk_norm.QKNormAttention.replace(attention)
    return attention.double()


def weights_of(attention: CrossModalAttention, target: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    projections = attention.project(target, source)
    scores = projections.query_source @ projections.key_source.mT * attention.key_channels**-0.5
    return scores.softmax(-1)


def test_hand_worked_norm_and_gains():
    """(3, 4) has a root mean square of sqrt(12.5); each of the four kinds of tokens has gains of its own."""
    norm = qk_norm.QKNorm(2)
    with torch.no_grad():
        norm.gains.copy_(torch.tensor([[1.0, 1], [2, 1], [1, 3], [0, 1]]))
    tokens = torch.tensor([3.0, 4]).view(1, 1, 1, 2)

    given = torch.stack(norm(tokens, tokens, 10 * tokens, -tokens)).flatten(1)

    x, y = 3 / 12.5**0.5, 4 / 12.5**0.5
    torch.testing.assert_close(given, torch.tensor([[x, y], [2 * x, y], [x, 3 * y], [0, -y]]))


def test_larger_features_do_not_sharpen_attention():
    """A hundred times larger: without the norm every token reads a single one, with it the weights are the same."""
    target, source = torch.randn(2, 1, 1, 50, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    plain, normalized = make_attention(False), make_attention(True)

    assert weights_of(plain, target, source).amax(-1).mean() < 0.1
    assert weights_of(plain, 100 * target, 100 * source).amax(-1).mean() > 0.95
    torch.testing.assert_close(
        weights_of(normalized, 100 * target, 100 * source), weights_of(normalized, target, source), rtol=1e-3, atol=0
    )


def test_larger_features_do_not_raise_the_gradient_of_queries_and_keys():
    """Against that of values: in plain attention, where two tokens compete, it grows with the features."""
    tokens = torch.randn(2, 1, 1, 50, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def relative_gradient(attention: CrossModalAttention, scale: float) -> float:
        attention.zero_grad()
        target, source = scale * tokens
        attention(target, source).square().sum().backward()
        *queries_and_keys, value = attention.from_target.weight.grad.split(attention.target_parts)
        return (torch.cat(queries_and_keys).norm() / value.norm()).item()

    plain, normalized = make_attention(False), make_attention(True)

    assert relative_gradient(plain, 100) > 20 * relative_gradient(plain, 1)
    assert relative_gradient(normalized, 100) == pytest.approx(relative_gradient(normalized, 1), rel=1e-3)


def test_tokens_of_zero_have_a_finite_gradient():
    attention = make_attention(True)
    tokens = torch.zeros(1, 1, 5, 8, dtype=torch.float64, requires_grad=True)

    attention(tokens, tokens).sum().backward()

    assert tokens.grad.isfinite().all()


def test_float16_does_not_overflow():
    """Squares of 300 leave float16's range."""
    tokens = torch.full((1, 1, 2, 4), 300.0, dtype=torch.float16)

    for each in qk_norm.QKNorm(4)(tokens, tokens, tokens, tokens):
        assert each.dtype == torch.float16 and torch.equal(each, torch.ones_like(each))


def test_every_attention_of_the_recipe_has_it(make_trainer, make_batch):
    trainer = make_trainer(qk_norm.nnUNetTrainerH2ASeg_qkNorm)
    trainer.initialize()

    trainer.train_step(make_batch(trainer))

    attentions = [each for each in trainer.network.modules() if isinstance(each, CrossModalAttention)]
    assert attentions
    assert all(attention.qk_norm.gains.grad.abs().sum() > 0 for attention in attentions)
