"""The operations of a CUDA card's way, registered with torch: `torch.ops.h2aseg.*`.

On CUDA they run as Triton kernels (triton_kernels.py), on a CPU as the formulas below, which say what they compute.

`norm_prelu` normalizes up to three maps of the same extents, its parts, in one pass. If TAMW's gains are given, the
parts are CT, PET and decoder features and weighed on the way: ct (1 - w0 + (w1 + w0) tumor), pet alike, decoder
(1 + w1 - w0). The weighed maps are never written.

Shapes: parts (b, c_i, *), c channels in all; tumor (b, 1, *); w1, w0 (b, c); slopes (1,), the first of every part, then
perhaps the second of every part; outs and their gradients in the same order, (b, c_i, *), each perhaps a slice of the
channels of another map; mean, inverse_std (b, c).

`means_by_share` averages maps over what a share of each voxel counts, and over the rest. There is a share for the first
spans[0] maps, one for the next spans[1], and so on; maps of different shares may differ in extents.

Shapes: maps (b, c_i, *), c channels in all; shares (b or 1, 1, *); means and counts (b, 2, c).
"""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from h2aseg_nnunet.network.norm import CONSTANT_VARIANCE, EPS, exact_dtype

SCHEMAS = (
    "norm_prelu(Tensor[] parts, Tensor? tumor, Tensor? w1, Tensor? w0, Tensor[] slopes, Tensor(a!)[] outs, "
    "Tensor(b!) mean, Tensor(c!) inverse_std, bool again) -> ()",
    "norm_prelu_backward(Tensor[] gradients, Tensor[] parts, Tensor? tumor, Tensor? w1, Tensor? w0, Tensor[] slopes, "
    "Tensor mean, Tensor inverse_std) -> Tensor[]",
    "means_by_share(Tensor[] maps, Tensor[] shares, int[] spans, bool masked) -> Tensor[]",
    "means_by_share_backward(Tensor[] gradients, Tensor means_gradient, Tensor[] maps, Tensor[] shares, int[] spans, "
    "Tensor? means, Tensor counts, bool of_shares) -> Tensor[]",
)

MAX_CONSTANT_INVERSE_STD = (CONSTANT_VARIANCE + EPS) ** -0.5
"""A channel whose inverse standard deviation is larger is constant and gets no gradient; see `instance_norm`."""


def norm_prelu(
    parts: Sequence[Tensor],
    tumor: Tensor | None,
    w1: Tensor | None,
    w0: Tensor | None,
    slopes: Sequence[Tensor],
    outs: Sequence[Tensor],
    mean: Tensor,
    inverse_std: Tensor,
    again: bool,
) -> None:
    """Write PReLU(norm(part)) to `outs`, and the statistics unless `again`: then they are read."""
    x = torch.cat(_weigh(parts, tumor, w1, w0), 1).flatten(2)
    if not again:
        variance, means = torch.var_mean(x, -1, correction=0)
        mean.copy_(means)
        inverse_std.copy_((variance + EPS).rsqrt())
    normalized = (x - mean[..., None]) * inverse_std[..., None]
    for at in range(0, len(slopes), len(parts)):
        for part, slope, out in zip(_split(normalized, parts), slopes[at:], outs[at:], strict=False):
            out.copy_(torch.where(part > 0, part, part * slope).view(out.shape))


def norm_prelu_backward(
    gradients: Sequence[Tensor],
    parts: Sequence[Tensor],
    tumor: Tensor | None,
    w1: Tensor | None,
    w0: Tensor | None,
    slopes: Sequence[Tensor],
    mean: Tensor,
    inverse_std: Tensor,
) -> list[Tensor]:
    """Gradients of the parts, of all slopes in one tensor, and where gains are given of tumor, w1 and w0."""
    maps = torch.cat(_weigh(parts, tumor, w1, w0), 1)
    normalized = (maps.flatten(2) - mean[..., None]) * inverse_std[..., None]
    gradient, of_slopes = torch.zeros_like(normalized), []
    for at in range(0, len(slopes), len(parts)):
        along_parts = zip(_split(normalized, parts), slopes[at:], gradients[at:], strict=False)
        each = [(n, slope, g.to(n.dtype).flatten(2)) for n, slope, g in along_parts]
        gradient += torch.cat([torch.where(n > 0, g, g * slope) for n, slope, g in each], 1)
        of_slopes += [(g * n.clamp(max=0)).sum() for n, _, g in each]
    inverse_std = inverse_std.masked_fill(inverse_std > MAX_CONSTANT_INVERSE_STD, 0)[..., None]
    along = (gradient * normalized).mean(-1, keepdim=True)
    gradient = (gradient - gradient.mean(-1, keepdim=True) - normalized * along) * inverse_std
    gradients = _split(gradient.view_as(maps), parts)
    if tumor is None or w1 is None or w0 is None:
        of_parts = [g.to(x.dtype, copy=True) for g, x in zip(gradients, parts, strict=True)]
        return [*of_parts, torch.stack(of_slopes).to(slopes[0].dtype)]
    of_parts, *of_weighing = _weigh_backward(gradients, parts, tumor, w1, w0)
    return [*of_parts, torch.stack(of_slopes).to(slopes[0].dtype), *of_weighing]


def _split(x: Tensor, parts: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return x.split([part.shape[1] for part in parts], 1)


def _weigh(parts: Sequence[Tensor], tumor: Tensor | None, w1: Tensor | None, w0: Tensor | None) -> tuple[Tensor, ...]:
    exact = tuple(part.to(exact_dtype(part)) for part in parts)
    if tumor is None or w1 is None or w0 is None:
        return exact
    return tuple(part * factor for part, factor in zip(exact, _factors(parts, tumor, w1, w0), strict=True))


def _factors(parts: Sequence[Tensor], tumor: Tensor, w1: Tensor, w0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    shape = (*w1.shape, *[1] * (tumor.ndim - 2))
    (ct_w1, pet_w1, up_w1), (ct_w0, pet_w0, up_w0) = (_split(w.view(shape), parts) for w in (w1, w0))
    tumor = tumor.to(w1.dtype)
    return 1 - ct_w0 + (ct_w1 + ct_w0) * tumor, 1 - pet_w0 + (pet_w1 + pet_w0) * tumor, 1 + up_w1 - up_w0


def _weigh_backward(
    gradients: Sequence[Tensor], parts: Sequence[Tensor], tumor: Tensor, w1: Tensor, w0: Tensor
) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    ct, pet, up = (part.to(g.dtype) * g for part, g in zip(parts, gradients, strict=True))
    streams, p = torch.cat([ct, pet], 1), tumor.to(ct.dtype)
    both = (w1 + w0)[:, : streams.shape[1]].view(*streams.shape[:2], *[1] * (streams.ndim - 2))
    of_up = up.flatten(2).sum(-1)
    factors = _factors(parts, tumor, w1, w0)
    return (
        [(g * factor).to(x.dtype) for g, factor, x in zip(gradients, factors, parts, strict=True)],
        (streams * both).sum(1, keepdim=True).to(tumor.dtype),
        torch.cat([(streams * p).flatten(2).sum(-1), of_up], 1).to(w1.dtype),
        torch.cat([(streams * (p - 1)).flatten(2).sum(-1), -of_up], 1).to(w0.dtype),
    )


def means_by_share(
    maps: Sequence[Tensor], shares: Sequence[Tensor], spans: Sequence[int], masked: bool
) -> list[Tensor]:
    """Means of all maps times the share and times 1 - share, and the counts that their sums were divided by.

    Counts are voxels; if masked, only those of the share and of the rest, with one more each.
    """
    means, counts = [], []
    for x, share in zip(maps, _of_maps(shares, spans), strict=True):
        values, p = x.flatten(2).to(exact_dtype(x)), share.flatten(2).to(exact_dtype(x))
        inside = (values * p).sum(-1)
        voxels = torch.full_like(inside, p.shape[-1])
        of_share = p.sum(-1).expand_as(inside)
        counts.append(torch.stack([of_share + 1, voxels - of_share + 1] if masked else [voxels, voxels], 1))
        means.append(torch.stack([inside, (values * (1 - p)).sum(-1)], 1) / counts[-1])
    return [torch.cat(means, 2), torch.cat(counts, 2)]


def means_by_share_backward(
    gradients: Sequence[Tensor],
    means_gradient: Tensor,
    maps: Sequence[Tensor],
    shares: Sequence[Tensor],
    spans: Sequence[int],
    means: Tensor | None,
    counts: Tensor,
    of_shares: bool,
) -> list[Tensor]:
    """Gradients of the maps, to which other gradients of theirs are added, and if asked for of the shares (b, 1, *).

    The means are needed only where they were masked: the counts then depend on the shares.
    """
    widths = [x.shape[1] for x in maps]
    each = (means_gradient / counts).split(widths, 2)
    masked = (torch.zeros_like(counts) if means is None else means).split(widths, 2)
    of_maps: list[Tensor] = []
    of_each: list[Tensor] = []
    for x, gradient, share, g, m in zip(maps, gradients, _of_maps(shares, spans), each, masked, strict=True):
        shape = (*g.shape[::2], *[1] * (share.ndim - 2))
        (inside, outside), (mean_in, mean_out) = ([e.view(shape) for e in both.unbind(1)] for both in (g, m))
        of_x = gradient + outside + (inside - outside) * share.to(inside.dtype)
        of_maps.append(of_x.to(x.dtype))
        if of_shares:
            values = x.to(inside.dtype)
            of_each.append(((values - mean_in) * inside - (values - mean_out) * outside).sum(1, keepdim=True))
    if not of_shares:
        return of_maps
    of_next = iter(of_each)
    totals = (sum(islice(of_next, span)) for span in spans)
    return [*of_maps, *(total.to(share.dtype) for total, share in zip(totals, shares, strict=True))]


def _of_maps(shares: Sequence[Tensor], spans: Sequence[int]) -> list[Tensor]:
    """The share of each map."""
    return [share for share, span in zip(shares, spans, strict=True) for _ in range(span)]


def _fake_norm_prelu_backward(
    gradients: Sequence[Tensor],
    parts: Sequence[Tensor],
    tumor: Tensor | None,
    w1: Tensor | None,
    w0: Tensor | None,
    slopes: Sequence[Tensor],
    mean: Tensor,
    inverse_std: Tensor,
) -> list[Tensor]:
    weighing = [each for each in (tumor, w1, w0) if each is not None]
    of_parts, of_weighing = ([_dense_like(each) for each in tensors] for tensors in (parts, weighing))
    return [*of_parts, slopes[0].new_empty(len(slopes)), *of_weighing]


def _fake_means_by_share(
    maps: Sequence[Tensor], shares: Sequence[Tensor], spans: Sequence[int], masked: bool
) -> list[Tensor]:
    shape = len(maps[0]), 2, sum(each.shape[1] for each in maps)
    return [maps[0].new_empty(shape, dtype=exact_dtype(maps[0])) for _ in range(2)]


def _fake_means_by_share_backward(
    gradients: Sequence[Tensor],
    means_gradient: Tensor,
    maps: Sequence[Tensor],
    shares: Sequence[Tensor],
    spans: Sequence[int],
    means: Tensor | None,
    counts: Tensor,
    of_shares: bool,
) -> list[Tensor]:
    of_each = [share.new_empty(len(maps[0]), *share.shape[1:]) for share in shares] if of_shares else []
    return [*map(_dense_like, maps), *of_each]


def _dense_like(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _as_triton(name: str) -> Callable[..., Any]:
    def run(*arguments: Any) -> Any:
        from h2aseg_nnunet.network.kernels import triton_kernels

        return getattr(triton_kernels, name)(*arguments)

    return run


def _register() -> torch.library.Library:
    """Tell torch of the operations: their schemas, and what computes them on a CPU, on CUDA and on fake tensors."""
    library = torch.library.Library("h2aseg", "FRAGMENT")
    for schema in SCHEMAS:
        library.define(schema)
    for formula, fake in (
        (norm_prelu, lambda *_: None),
        (norm_prelu_backward, _fake_norm_prelu_backward),
        (means_by_share, _fake_means_by_share),
        (means_by_share_backward, _fake_means_by_share_backward),
    ):
        library.impl(formula.__name__, formula, "CPU")
        library.impl(formula.__name__, _as_triton(formula.__name__), "CUDA")
        torch.library.register_fake(f"h2aseg::{formula.__name__}", fake, lib=library)
    return library


# torch knows an operation once per process, but this module may be imported again, under another name or anew
library = None if hasattr(torch.ops.h2aseg, "norm_prelu") else _register()
