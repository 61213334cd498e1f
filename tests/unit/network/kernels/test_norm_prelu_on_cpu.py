import pytest
import torch
from torch import nn
from torch.nn import functional as F

from h2aseg_nnunet.network.kernels.norm_prelu_on_cpu import norm_prelu, norm_prelu_convs


def plain(x, activations, convs):
    normalized = F.instance_norm(x)
    return tuple(conv(activation(normalized)) for activation, conv in zip(activations, convs, strict=True))


def make(dimension, dtype=torch.float64, stride=2, bias=True):
    torch.manual_seed(0)
    conv_op = {2: nn.Conv2d, 3: nn.Conv3d}[dimension]
    activations = [nn.PReLU(init=0.25).to(dtype), nn.PReLU(init=-0.4).to(dtype)]
    convs = [conv_op(3, channels, 3, stride, 1, bias=bias).to(dtype) for channels in (2, 4)]
    x = torch.randn(2, 3, *(5, 4, 6)[:dimension], dtype=dtype) * 3 + 7
    return x.requires_grad_(), activations, convs


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_outputs_and_gradients_equal_the_plain_formula(dimension, bias):
    x, activations, convs = make(dimension, bias=bias)
    parameters = [x, *(p for module in (*activations, *convs) for p in module.parameters())]

    given, expected = norm_prelu_convs(x, activations, convs), plain(x, activations, convs)

    weights = [torch.randn_like(output) for output in expected]
    for a, b in zip(given, expected, strict=True):
        torch.testing.assert_close(a, b)
    for a, b in zip(
        torch.autograd.grad(given, parameters, weights), torch.autograd.grad(expected, parameters, weights), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_gradcheck():
    x, activations, convs = make(2, stride=1)
    parameters = [p for module in (*activations, *convs) for p in module.parameters()]

    def run(x, *_):
        return norm_prelu_convs(x, activations, convs)

    assert torch.autograd.gradcheck(run, (x, *parameters))
    slope = activations[0].weight
    assert torch.autograd.gradcheck(norm_prelu, (x, slope))


def test_backward_keeps_one_map_only():
    """The plain formula keeps four maps of x's size: before and after the norm, and both activated ones."""
    x, activations, convs = make(3, stride=1)
    kept = {}

    def keep(tensor):
        if tensor.numel() >= x.numel():
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        norm_prelu_convs(x, activations, convs)

    assert list(kept) == [x.untyped_storage().data_ptr()]


def test_a_single_position_normalises_to_zero_and_passes_a_gradient():
    x = torch.full((1, 2, 1, 1, 1), 7.0, requires_grad=True)

    output = norm_prelu(x, torch.tensor([0.25]))
    output.sum().backward()

    torch.testing.assert_close(output, torch.zeros_like(x), atol=1e-4, rtol=0)  # 7 - 7, divided by sqrt(eps)
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_a_constant_map_has_finite_gradients():
    x, activations, convs = make(3)
    x = torch.full_like(x, 1e4).requires_grad_()

    sum(output.square().sum() for output in norm_prelu_convs(x, activations, convs)).backward()

    assert all(torch.isfinite(p.grad).all() for p in (x, *convs[0].parameters(), activations[0].weight))


def test_a_constant_channel_gets_no_gradient_and_leaves_the_others_theirs():
    x, activations, _ = make(3)
    x = x.detach()
    expected = x.clone().requires_grad_()
    x[:, 1] = 0
    x.requires_grad_()
    weights = torch.randn_like(x)

    (given,) = torch.autograd.grad((norm_prelu(x, activations[0].weight) * weights).sum(), x)
    (plain_gradient,) = torch.autograd.grad((activations[0](F.instance_norm(expected)) * weights).sum(), expected)

    assert not given[:, 1].any()
    torch.testing.assert_close(given[:, ::2], plain_gradient[:, ::2])


def test_autocast_computes_in_its_type():
    x, activations, convs = make(3, torch.float32)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        given = norm_prelu_convs(x, activations, convs)
    sum(output.float().square().sum() for output in given).backward()

    assert all(output.dtype == torch.bfloat16 for output in given)
    assert x.grad.dtype == convs[0].weight.grad.dtype == activations[0].weight.grad.dtype == torch.float32
    for a, b in zip(given, plain(x, activations, convs), strict=True):
        torch.testing.assert_close(a.float(), b, rtol=0.05, atol=0.05)


def test_half_precision_keeps_statistics_in_float32():
    """A mean of 100 has steps of a half in bfloat16, which would shift what backward normalises once more."""
    slope = torch.tensor([0.25])
    x = (torch.randn(1, 2, 4, 4, 4) + 100).bfloat16()
    given, expected = x.clone().requires_grad_(), x.float().requires_grad_()
    probe = torch.randn_like(expected)

    (norm_prelu(given, slope.bfloat16()) * probe).sum().backward()
    (norm_prelu(expected, slope) * probe).sum().backward()

    torch.testing.assert_close(given.grad.float(), expected.grad, rtol=0.05, atol=0.02)
