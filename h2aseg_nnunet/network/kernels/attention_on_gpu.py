"""Bidirectional attention on a CUDA card: both streams and both directions in one product, few launches."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from h2aseg_nnunet.network.kernels.stacking import stack_pairs
from h2aseg_nnunet.network.norm import compute_dtype

if TYPE_CHECKING:
    from h2aseg_nnunet.network.attention import BidirectionalAttention


def bidirectional_attention(
    module: "BidirectionalAttention", ct: Tensor, pet: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Stack the streams, project them by one product, attend, and project the sum of both results.

    Queries and keys are projected as wide as values, with rows of zeros, which leaves the scores as they are: the fused
    kernels of attention want one head size.
    """
    dtype = compute_dtype(ct)
    directions = (module.ct_reads_pet, module.pet_reads_ct)
    attention = directions[0]
    dropout = attention.dropout.p if attention.training else 0.0
    b, n, t, c = ct.shape
    with torch.autocast(ct.device.type, enabled=False):
        tokens = torch.stack([ct.to(dtype), pet.to(dtype)])  # (2, b, n, t, c)
        if isinstance(module.ct_norm, nn.LayerNorm):
            tokens = _normalize(tokens, [module.ct_norm, module.pet_norm])
        weight, output = _StackedWeights.apply(
            dtype,
            attention.key_channels,
            *(each.from_target.weight for each in directions),
            *(each.from_source.weight for each in directions),
            *(each.out.weight for each in directions),
            *(each.layer_scale for each in directions if each.layer_scale is not None),
        )
        projected = torch.bmm(tokens.view(2, -1, c), weight.mT).view(2 * b, n, t, 6, c)
        query, query_other, key, value, key_other, value_other = projected.unbind(-2)
        scale = attention.key_channels**-0.5
        own = _attend(query, key, value, mask, dropout, scale)
        other = _attend(query_other, _swap(key_other), _swap(value_other), mask, dropout, scale)
        read = (own + other).transpose(1, 2).reshape(2, -1, c)  # as the fused kernels lay out their results: no copy
        updates = torch.bmm(read, output.mT).view(2, b, t, n, c).transpose(2, 3)
        ct_update, pet_update = attention.dropout(updates).unbind(0)
    return ct_update, pet_update


def _swap(x: Tensor) -> Tensor:
    """What each stream of (2 b, ...) offers to the other one."""
    return x.unflatten(0, (2, -1)).flip(0).flatten(0, 1)


def _normalize(tokens: Tensor, norms: Sequence[nn.LayerNorm]) -> Tensor:
    """The layer norm of each stream in one pass, then its own scale and shift."""
    normalized = F.layer_norm(tokens, tokens.shape[-1:], eps=norms[0].eps)
    scale, shift = stack_pairs(*([norm.weight, norm.bias] for norm in norms), tokens.dtype)
    shape = (2, 1, 1, 1, -1)
    return torch.addcmul(shift.view(shape), normalized, scale.view(shape))


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, scale: float) -> Tensor:
    """Windows take the place of heads; (b, n, t, c) each."""
    mask = None if mask is None else mask.unsqueeze(-2)
    attend = F.scaled_dot_product_attention
    if dropout and query.device.type != "cuda":
        # Only CUDA's fused kernels know dropout. Elsewhere, where memory is counted, scores are not kept either.
        return checkpoint(attend, query, key, value, mask, dropout, scale=scale, use_reentrant=False)
    return attend(query, key, value, mask, dropout, scale=scale)


class _StackedWeights(torch.autograd.Function):
    """Projections of both streams, (2, 6 c, c), and half of both output projections, (2, c, c), in another type.

    If there are layer scales, the rows of the output projections are multiplied with them.

    Rows of a stream's projection, c each: queries to itself and to the other stream, its keys and values for itself,
    its keys and values for the other stream.

    Args:
        parameters: from_target, from_source, out and perhaps layer_scale, of the direction that updates CT and of that
            which updates PET.
    """

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, key_channels: int, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        channels = parameters[0].shape[1]
        new = torch.zeros if key_channels < channels else torch.empty
        weight = new(2, 6, channels, channels, dtype=dtype, device=parameters[0].device)
        output = torch.empty(2, channels, channels, dtype=dtype, device=parameters[0].device)
        scales = output.new_empty(2, channels)
        ctx.key_channels, ctx.type, ctx.shapes = key_channels, parameters[0].dtype, [p.shape for p in parameters]
        places = _places(weight, key_channels)
        parts = _parts(parameters[:4], key_channels)
        ctx.has_scales = len(parameters) > 6
        others = [*output.unbind(0), *(scales.unbind(0) if ctx.has_scales else ())]
        torch._foreach_copy_([*places, *others], [*parts, *parameters[4:]])
        if not ctx.has_scales:
            return weight.flatten(1, 2), output.mul_(0.5)
        halves = scales.mul_(0.5).unsqueeze(-1)
        ctx.save_for_backward(output, halves)
        return weight.flatten(1, 2), output * halves

    @staticmethod
    def backward(ctx: Any, weight: Tensor, output: Tensor) -> tuple[Tensor | None, ...]:
        gradients = [weight.new_empty(shape, dtype=ctx.type) for shape in ctx.shapes]
        weight, channels = weight.contiguous(), weight.shape[-1]
        places = _places(weight.unflatten(1, (6, channels)), ctx.key_channels)
        parts = _parts(gradients[:4], ctx.key_channels)
        if ctx.has_scales:
            unscaled, halves = ctx.saved_tensors
            of_scales = (output * unscaled).sum(-1).mul_(0.5)
            others = [*(output * halves).unbind(0), *of_scales.unbind(0)]
        else:
            others = [*output.contiguous().mul_(0.5).unbind(0)]
        torch._foreach_copy_([*parts, *gradients[4:]], [*places, *others])
        return None, None, *gradients


def _places(weight: Tensor, key_channels: int) -> list[Tensor]:
    """Rows of (2, 6, c, c) in the order of `_parts`; queries and keys take the first of their rows."""
    taken = slice(key_channels)
    target = [[each[0, taken], each[1, taken], each[2, taken], each[3]] for each in weight]
    source = [[each[4, taken], each[5]] for each in (weight[1], weight[0])]  # CT reads from PET and PET from CT
    return [place for places in (*target, *source) for place in places]


def _parts(parameters: Sequence[Tensor], key_channels: int) -> list[Tensor]:
    """Queries, keys and values of the projections, as CrossModalAttention joins them."""
    keys = (3, 3, 1, 1)
    return [
        part
        for parameter, k in zip(parameters, keys, strict=True)
        for part in parameter.split([key_channels] * k + [len(parameter) - k * key_channels])
    ]
