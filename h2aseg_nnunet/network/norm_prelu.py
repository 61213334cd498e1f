"""Instance norm, PReLU and what follows: backward keeps the input only and computes the rest once more.

Norm and PReLU cost little time but, stored as autograd stores them, most of the memory of a residual network: the
normalised map and the activated map of every convolution. Here they are recomputed in backward from the map before
the norm, which its producer keeps anyway. Outputs and gradients are those of the plain formulas (`tests/network`).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

EPS = 1e-5
CONSTANT = (1.001 * EPS) ** -0.5
"""1 / standard deviation of a channel whose variance is a thousandth of EPS: it varies by rounding at most."""


def norm_prelu(x: Tensor, slope: Tensor) -> Tensor:
    """(b, c, *) -> (b, c, *): instance norm (no affine, no running statistics), then PReLU with one slope (1,).

    A map of a single position becomes zero, as the formula says. Under autocast everything runs in autocast's type.
    """
    dtype = _compute_dtype(x)
    return _NormPReLU.apply(x.to(dtype), slope.to(dtype))


def norm_prelu_convs(
    x: Tensor, activations: Sequence[nn.PReLU], convs: Sequence[nn.Conv2d | nn.Conv3d]
) -> tuple[Tensor, ...]:
    """One instance norm, then for each pair a PReLU and a convolution: conv(activation(norm(x))).

    Under autocast everything runs in autocast's type.

    Args:
        x: (b, c, *).
        activations: One PReLU with a single slope per convolution.
        convs: Convolutions of c channels that share stride and padding.
    """
    dtype = _compute_dtype(x)
    parameters = []
    for activation, conv in zip(activations, convs, strict=True):
        parameters += [activation.weight, conv.weight, conv.bias]
    parameters = [None if parameter is None else parameter.to(dtype) for parameter in parameters]
    return _NormPReLUConvs.apply(x.to(dtype), convs[0].stride, convs[0].padding, *parameters)


def _compute_dtype(x: Tensor) -> torch.dtype:
    """Autocast does not reach into a Function's backward: types are settled before."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


class _NormPReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        normalized, mean, inverse_std = _normalize(x)
        ctx.save_for_backward(x, mean, inverse_std, slope)
        return torch.prelu(normalized, slope)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, inverse_std, slope = ctx.saved_tensors
        gradient, slope_gradient = _prelu_backward(gradient, _normalize_again(x, mean, inverse_std), slope)
        return _normalize_backward(gradient, x, mean, inverse_std), slope_gradient


class _NormPReLUConvs(torch.autograd.Function):
    """Slope, weight and bias of each convolution follow one another in `parameters`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, stride: Sequence[int], padding: Sequence[int], *parameters: Tensor | None
    ) -> tuple[Tensor, ...]:
        normalized, mean, inverse_std = _normalize(x)
        ctx.save_for_backward(x, mean, inverse_std, *parameters)
        ctx.geometry = stride, padding
        outputs = []
        for i in range(0, len(parameters), 3):
            slope, weight, bias = parameters[i : i + 3]
            outputs.append(_convolve(torch.prelu(normalized, slope), weight, bias, stride, padding))
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, inverse_std, *parameters = ctx.saved_tensors
        stride, padding = ctx.geometry
        normalized = _normalize_again(x, mean, inverse_std)
        total, parameter_gradients = None, []
        for i, gradient in enumerate(gradients):
            slope, weight, bias = parameters[3 * i : 3 * i + 3]
            gradient, *conv_gradients = _convolve_backward(
                gradient, torch.prelu(normalized, slope), weight, bias, stride, padding
            )
            gradient, slope_gradient = _prelu_backward(gradient, normalized, slope)
            total = gradient if total is None else total + gradient
            parameter_gradients += [slope_gradient, *conv_gradients]
        return _normalize_backward(total, x, mean, inverse_std), None, None, *parameter_gradients


def _normalize(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(b, c, *) -> normalised map, mean (b * c,) and 1 / standard deviation (b * c,) of every channel.

    Instance norm is batch norm of a single item with b * c channels; this one returns the statistics.
    """
    normalized, mean, inverse_std = torch.native_batch_norm(_one_item(x), None, None, None, None, True, 0.0, EPS)
    return normalized.view_as(x), mean, inverse_std


def _normalize_again(x: Tensor, mean: Tensor, inverse_std: Tensor) -> Tensor:
    """`_normalize` with known statistics: one pass over x."""
    variance = inverse_std.pow(-2) - EPS
    return torch.native_batch_norm(_one_item(x), None, None, mean, variance, False, 0.0, EPS)[0].view_as(x)


def _normalize_backward(gradient: Tensor, x: Tensor, mean: Tensor, inverse_std: Tensor) -> Tensor:
    """A constant channel gets no gradient: the formula's would grow by 1 / sqrt(EPS) = 316 at every layer.

    A patch outside the PET's field of view is constant throughout its stream, where the release's gradients explode.
    """
    inverse_std = inverse_std.masked_fill(inverse_std > CONSTANT, 0)
    return torch.ops.aten.native_batch_norm_backward(
        _one_item(gradient), _one_item(x), None, None, None, mean, inverse_std, True, EPS, [True, False, False]
    )[0].view_as(x)


def _prelu_backward(gradient: Tensor, x: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of x and of the single slope, the latter summed in float32 at least."""
    per_value = slope.reshape([1] * x.ndim)
    gradient, slope_gradient = torch.ops.aten._prelu_kernel_backward(gradient, x, per_value)
    at_least_float32 = torch.promote_types(x.dtype, torch.float32)
    return gradient, slope_gradient.sum(dtype=at_least_float32).to(slope.dtype).reshape(slope.shape)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int]) -> Tensor:
    ones, zeros = [1] * len(stride), [0] * len(stride)
    return torch.convolution(x, weight, bias, stride, padding, ones, False, zeros, 1)


def _convolve_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int]
) -> tuple[Tensor, ...]:
    ones, zeros = [1] * len(stride), [0] * len(stride)
    bias_sizes = None if bias is None else list(bias.shape)
    mask = [True, True, bias is not None]
    return torch.ops.aten.convolution_backward(
        gradient, x, weight, bias_sizes, stride, padding, ones, False, zeros, 1, mask
    )


def _one_item(x: Tensor) -> Tensor:
    """(b, c, *) -> (1, b * c, *)."""
    return x.reshape(1, x.shape[0] * x.shape[1], *x.shape[2:])
