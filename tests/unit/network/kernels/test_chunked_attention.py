import pytest
import torch
from torch.nn import functional as F

from h2aseg_nnunet.network.kernels import chunked_attention, on_cpu
from h2aseg_nnunet.network.kernels.chunked_attention import chunked_attention as attend


@pytest.fixture(params=[2**20, 60, 12], ids=["in one go", "some windows at a time", "some queries at a time"])
def chunks(request, monkeypatch):
    monkeypatch.setattr(chunked_attention, "SCORES_PER_CHUNK", request.param)


def tokens(b=2, k=2, c=6):
    """3 windows an image, of 5 positions: 25 scores a window."""
    torch.manual_seed(0)
    return [torch.randn(b, 3, 5, width, dtype=torch.float64, requires_grad=True) for width in (k, k, c)]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.usefixtures("chunks")
def test_output_and_gradients_equal_pytorchs(masked):
    inputs = tokens()
    mask = torch.tensor([[[True] * 5, [True] * 3 + [False] * 2, [True] + [False] * 4]]) if masked else None

    given = attend(*inputs, mask, dropout=0.0)
    expected = F.scaled_dot_product_attention(*inputs, attn_mask=None if mask is None else mask.unsqueeze(-2))

    torch.testing.assert_close(given, expected)
    probe = torch.randn_like(given)
    for a, b in zip(
        torch.autograd.grad(given, inputs, probe), torch.autograd.grad(expected, inputs, probe), strict=True
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.usefixtures("chunks")
def test_gradients_belong_to_the_dropout_that_was_drawn():
    def run(*inputs):
        torch.manual_seed(1)
        return attend(*inputs, None, dropout=0.5)

    assert torch.autograd.gradcheck(run, tokens(b=1, k=1, c=2))


def test_dropout_drops_weights_and_enlarges_the_others():
    query, key, _ = tokens()
    value = torch.eye(5, dtype=torch.float64).expand(2, 3, 5, 5)  # the output is the weights

    weights, dropped = attend(query, key, value, None, 0.0), attend(query, key, value, None, 0.2)

    kept = dropped != 0
    assert 0 < (~kept).sum() < 75  # of 150, 30 are expected
    torch.testing.assert_close(dropped[kept], weights[kept] / 0.8, rtol=1e-5, atol=0)  # 0.2 in 16 bits


def test_the_seed_decides_what_is_dropped():
    inputs = tokens()

    def run(seed):
        torch.manual_seed(seed)
        return attend(*inputs, None, dropout=0.5)

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


def test_half_precision_stays_half_precision():
    inputs = [x.detach().bfloat16() for x in tokens()]

    output = attend(*inputs, None, dropout=0.0)

    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(
        output.double(), attend(*(x.double() for x in inputs), None, dropout=0.0), rtol=0.05, atol=0.02
    )


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_scores_are_not_kept_for_backward(dropout):
    tokens = torch.randn(1, 4, 64, 8, requires_grad=True)

    def keep(tensor):
        assert tensor.shape[-2:] != (64, 64), "scores (b, n, t, t) are kept"
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        on_cpu.attend(tokens, tokens, tokens, None, dropout)
