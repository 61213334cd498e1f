"""Instance norm, PReLU and convolutions on a CPU: backward keeps the input only and computes the rest once more.

Norm and PReLU cost little time but, stored as autograd stores them, most of the memory of a residual network: the
normalized map and the activated map of every convolution. Here they are recomputed in backward from the map before
the norm, which its producer keeps anyway.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from h2aseg_nnunet.network.kernels.memory_format import to_fast_layout
from h2aseg_nnunet.network.norm import CONSTANT_VARIANCE, EPS, compute_dtype


def norm_prelu(x: Tensor, slope: Tensor) -> Tensor:
    """(b, c, *) -> (b, c, *): instance norm (no affine, no running statistics), then PReLU with one slope (1,).

    A map of a single position becomes zero, as the formula says. Under autocast everything runs in autocast's type.
    """
    dtype = compute_dtype(x)
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
    dtype = compute_dtype(x)
    parameters = []
    for activation, conv in zip(activations, convs, strict=True):
        parameters += [activation.weight, conv.weight, conv.bias]
    parameters = [None if parameter is None else parameter.to(dtype) for parameter in parameters]
    return _NormPReLUConvs.apply(x.to(dtype), convs[0].stride, convs[0].padding, *parameters)


class _NormPReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        normalized, mean, inverse_std = _normalize(x)
        ctx.save_for_backward(x, mean, inverse_std, slope)
        return torch.prelu(normalized, slope)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, inverse_std, slope = ctx.saved_tensors
        normalized = _normalize_again(x, mean, inverse_std)
        gradient, slope_gradient = _prelu_backward(gradient, normalized, slope, out=torch.empty_like(normalized))
        return _normalize_backward(gradient, x, mean, inverse_std), slope_gradient


class _NormPReLUConvs(torch.autograd.Function):
    """Slope, weight and bias of each convolution follow one another in `parameters`.

    Maps that are used up serve as memory for the next ones: fresh pages cost a CPU more time than the arithmetic.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, stride: Sequence[int], padding: Sequence[int], *parameters: Tensor | None
    ) -> tuple[Tensor, ...]:
        normalized, mean, inverse_std = _normalize(x)
        ctx.save_for_backward(x, mean, inverse_std, *parameters)
        ctx.geometry = stride, padding
        activated, outputs = torch.empty_like(normalized), []
        for i in range(0, len(parameters), 3):
            slope, weight, bias = parameters[i : i + 3]
            outputs.append(_convolve(_prelu(normalized, slope, out=activated), weight, bias, stride, padding))
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, inverse_std, *parameters = ctx.saved_tensors
        stride, padding = ctx.geometry
        normalized = _normalize_again(x, mean, inverse_std)
        total, parameter_gradients, free = None, [], torch.empty_like(normalized)
        for i, gradient in enumerate(gradients):
            slope, weight, bias = parameters[3 * i : 3 * i + 3]
            activated = _prelu(normalized, slope, out=free)
            gradient, *conv_gradients = _convolve_backward(gradient, activated, weight, bias, stride, padding)
            path, slope_gradient = _prelu_backward(gradient, normalized, slope, out=activated)
            total, free = (path, gradient) if total is None else (total.add_(path), path)
            parameter_gradients += [slope_gradient, *conv_gradients]
        del normalized, free, gradient, activated, path
        return _normalize_backward(total, x, mean, inverse_std), None, None, *parameter_gradients


def _normalize(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(b, c, *) -> normalized map, mean (b * c,) and 1 / standard deviation (b * c,) of every channel.

    Instance norm is batch norm of a single item; this one returns the statistics.
    """
    means, inverse_stds = [], []

    def normalize(item: Tensor) -> Tensor:
        normalized, mean, inverse_std = torch.native_batch_norm(item, *_ones(item), None, None, True, 0.0, EPS)
        means.append(mean)
        inverse_stds.append(inverse_std)
        return normalized

    return _join(map(normalize, _single_items(x)), like=x), torch.cat(means), torch.cat(inverse_stds)


def _normalize_again(x: Tensor, mean: Tensor, inverse_std: Tensor) -> Tensor:
    """`_normalize` with known statistics: one pass over x."""
    items, variance = _single_items(x), inverse_std.pow(-2) - EPS
    statistics = zip(items, mean.chunk(len(items)), variance.chunk(len(items)), strict=True)
    return _join(
        (torch.native_batch_norm(item, None, None, m, v, False, 0.0, EPS)[0] for item, m, v in statistics), like=x
    )


def _normalize_backward(gradient: Tensor, x: Tensor, mean: Tensor, inverse_std: Tensor) -> Tensor:
    """A constant channel gets no gradient; see `instance_norm`."""
    inverse_std = inverse_std.masked_fill(inverse_std > (CONSTANT_VARIANCE + EPS) ** -0.5, 0)
    items, gradients = _single_items(x), _single_items(gradient)
    if len(gradients) != len(items):  # another memory layout than x
        gradients = _single_items(torch.empty_like(x).copy_(gradient))
    statistics = zip(gradients, items, mean.chunk(len(items)), inverse_std.chunk(len(items)), strict=True)
    mask = [True, False, False]
    return _join(
        (
            torch.ops.aten.native_batch_norm_backward(g, item, None, None, None, m, s, True, EPS, mask)[0]
            for g, item, m, s in statistics
        ),
        like=x,
    )


def _ones(item: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Weight and bias that change nothing. Where a CPU computes in half precision, their type is the statistics'."""
    if item.device.type != "cpu" or item.dtype not in (torch.float16, torch.bfloat16):
        return None, None
    return torch.ones(item.shape[1]), torch.zeros(item.shape[1])


def _single_items(x: Tensor) -> list[Tensor]:
    """(b, c, *) -> [(1, b * c, *)] where x's memory allows it, else (1, c, *) for each of the b items."""
    if x.is_contiguous():
        return [x.view(1, -1, *x.shape[2:])]
    return list(x.split(1))


def _join(items: Iterable[Tensor], like: Tensor) -> Tensor:
    """Inverse of `_single_items`; the map has the memory layout of `like`."""
    if like.is_contiguous():
        (item,) = items
        return item.view_as(like)
    if len(like) == 1:
        (item,) = items
        return item  # a view of it would lose the channels_last strides
    joined = torch.empty_like(like)
    for target, item in zip(joined.split(1), items, strict=True):
        target.copy_(item)
    return joined


def _prelu(x: Tensor, slope: Tensor, out: Tensor) -> Tensor:
    return torch.clamp(x, min=0, out=out).lerp_(x, slope)


def _prelu_backward(gradient: Tensor, x: Tensor, slope: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of x, written to `out`, and of the single slope, which is summed in float32 at least."""
    negative = torch.clamp(x, max=0, out=out)
    slope_gradient = negative.mul_(gradient).sum(dtype=torch.promote_types(x.dtype, torch.float32))
    positive = torch.ops.aten.threshold_backward.grad_input(gradient, x, 0, grad_input=out)
    return positive.lerp_(gradient, slope), slope_gradient.to(slope.dtype).reshape(slope.shape)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int]) -> Tensor:
    ones, zeros = [1] * len(stride), [0] * len(stride)
    return to_fast_layout(torch.convolution(x, weight, bias, stride, padding, ones, False, zeros, 1))


def _convolve_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int]
) -> tuple[Tensor, ...]:
    ones, zeros = [1] * len(stride), [0] * len(stride)
    bias_sizes = None if bias is None else list(bias.shape)
    mask = [True, True, bias is not None]
    return torch.ops.aten.convolution_backward(
        gradient, x, weight, bias_sizes, stride, padding, ones, False, zeros, 1, mask
    )
