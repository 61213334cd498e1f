# ruff: noqa: N803, compile-time constants are written in capitals
"""The operations of ops.py as Triton kernels; imported where there is a CUDA device.

A row is one channel of one item. A program works on a chunk of a row's voxels, or on a block of voxels of all channels
where their sum is asked for. Sums of a row are kept chunk by chunk and added in a fixed order: runs repeat bit by bit.
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from h2aseg_nnunet.network.kernels import ops
from h2aseg_nnunet.network.norm import EPS, exact_dtype

BLOCK = 1024
"""Voxels that a program holds at once."""

STEPS = 16
"""Blocks of a chunk, at most."""

kernel = triton.jit(
    do_not_specialize=["c0", "c1", "channels", "chunks", "blocks", "rows", "first", "parts", "streams_size"]
)
"""Channels and counts differ from layer to layer: kernels are not compiled for each of them."""


@triton.jit
def _at(c, c0, c1, a, b, d):
    """What belongs to channel c: a, b or d, for the first, second and third part."""
    return tl.where(c < c0, a, tl.where(c < c0 + c1, b, d))


@triton.jit
def _load_row(
    p0, p1, p2, tumor, w1, w0, row, c, b, c0, c1, channels, offsets, mask, voxels,
    WEIGHED: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Voxels of a row, and what TAMW multiplies them with."""
    part = _at(c, c0, c1, p0, p1, p2)
    first = _at(c, c0, c1, 0, c0, c0 + c1)
    width = _at(c, c0, c1, c0, c1, channels - c0 - c1)
    start = (b * width + c - first).to(tl.int64) * voxels
    x = tl.load(part + start + offsets, mask, other=0).to(ACC)
    factor = tl.full(x.shape, 1, ACC)
    if WEIGHED:
        gain1, gain0 = tl.load(w1 + row).to(ACC), tl.load(w0 + row).to(ACC)
        p = tl.load(tumor + b.to(tl.int64) * voxels + offsets, mask, other=0).to(ACC)
        # of the third part tumor and background are scaled alike, by 1 - w0 + w1
        p = tl.where(c < c0 + c1, p, 1)
        bias = tl.where(c < c0 + c1, 1 - gain0, 1 + gain1 - gain0)
        slope = tl.where(c < c0 + c1, gain1 + gain0, 0)
        factor = bias + slope * p
    return x, factor


@kernel
def _statistics(
    p0, p1, p2, tumor, w1, w0, means, squares, c0, c1, channels, voxels, chunks,
    WEIGHED: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Mean of every chunk, and the sum of squared differences from it."""
    row, chunk = tl.program_id(1), tl.program_id(0)
    b, c = row // channels, row % channels
    count = tl.full((), 0, ACC)
    mean = tl.full((), 0, ACC)
    square = tl.full((), 0, ACC)
    for step in range(STEPS):
        offsets = (chunk * STEPS + step) * BLOCK + tl.arange(0, BLOCK)
        mask = offsets < voxels
        x, factor = _load_row(
            p0, p1, p2, tumor, w1, w0, row, c, b, c0, c1, channels, offsets, mask, voxels, WEIGHED, ACC
        )
        x *= factor
        n = tl.sum(mask.to(ACC), 0)
        block_mean = tl.sum(tl.where(mask, x, 0), 0) / tl.maximum(n, 1)
        difference = tl.where(mask, x - block_mean, 0)
        total = tl.maximum(count + n, 1)
        delta = block_mean - mean
        square += tl.sum(difference * difference, 0) + delta * delta * count * n / total
        mean += delta * n / total
        count += n
    tl.store(means + row * chunks + chunk, mean)
    tl.store(squares + row * chunks + chunk, square)


@triton.jit
def _statistics_of_row(
    means, squares, row, voxels, chunks, EPS: tl.constexpr, CHUNKS: tl.constexpr, SIZE: tl.constexpr, ACC: tl.constexpr
):
    """Mean and 1 / standard deviation of a row from those of its chunks."""
    chunk = tl.arange(0, CHUNKS)
    valid = chunk < chunks
    counts = tl.where(valid, tl.minimum(voxels - chunk * SIZE, SIZE), 0).to(ACC)
    of_chunks = tl.load(means + row * chunks + chunk, valid, other=0)
    total = tl.sum(counts, 0)
    mean = tl.sum(counts * of_chunks, 0) / total
    delta = tl.where(valid, of_chunks - mean, 0)
    square = tl.sum(tl.load(squares + row * chunks + chunk, valid, other=0) + counts * delta * delta, 0)
    return mean, 1 / tl.sqrt(square / total + EPS)


@kernel
def _activate(
    p0, p1, p2, tumor, w1, w0, s0, s1, s2, t0, t1, t2, o0, o1, o2, q0, q1, q2,
    o0_stride, o1_stride, o2_stride, q0_stride, q1_stride, q2_stride,
    means, squares, mean_out, inverse_std_out, c0, c1, channels, voxels, chunks,
    EPS: tl.constexpr, AGAIN: tl.constexpr, TWO: tl.constexpr, WEIGHED: tl.constexpr, ACC: tl.constexpr,
    BLOCK: tl.constexpr, STEPS: tl.constexpr, CHUNKS: tl.constexpr,
):  # fmt: skip
    """PReLU of the normalized rows: with slopes s to o, and with slopes t to q if TWO."""
    row, chunk = tl.program_id(1), tl.program_id(0)
    b, c = row // channels, row % channels
    if AGAIN:
        mean, inverse_std = tl.load(mean_out + row), tl.load(inverse_std_out + row)
    else:
        mean, inverse_std = _statistics_of_row(means, squares, row, voxels, chunks, EPS, CHUNKS, BLOCK * STEPS, ACC)
        if chunk == 0:
            tl.store(mean_out + row, mean)
            tl.store(inverse_std_out + row, inverse_std)
    local = c - _at(c, c0, c1, 0, c0, c0 + c1)
    slope = tl.load(_at(c, c0, c1, s0, s1, s2)).to(ACC)
    out = _at(c, c0, c1, o0, o1, o2)
    start = b.to(tl.int64) * _at(c, c0, c1, o0_stride, o1_stride, o2_stride) + local.to(tl.int64) * voxels
    if TWO:
        slope2 = tl.load(_at(c, c0, c1, t0, t1, t2)).to(ACC)
        out2 = _at(c, c0, c1, q0, q1, q2)
        start2 = b.to(tl.int64) * _at(c, c0, c1, q0_stride, q1_stride, q2_stride) + local.to(tl.int64) * voxels
    for step in range(STEPS):
        offsets = (chunk * STEPS + step) * BLOCK + tl.arange(0, BLOCK)
        mask = offsets < voxels
        x, factor = _load_row(
            p0, p1, p2, tumor, w1, w0, row, c, b, c0, c1, channels, offsets, mask, voxels, WEIGHED, ACC
        )
        normalized = (x * factor - mean) * inverse_std
        tl.store(out + start + offsets, tl.where(normalized > 0, normalized, normalized * slope), mask)
        if TWO:
            tl.store(out2 + start2 + offsets, tl.where(normalized > 0, normalized, normalized * slope2), mask)


@triton.jit
def _gradient_of_norm(
    x, g0, g1, g2, h0, h1, h2, g0_stride, g1_stride, g2_stride, h0_stride, h1_stride, h2_stride,
    s0, s1, s2, t0, t1, t2, mean, inverse_std, c, b, c0, c1, offsets, mask, voxels,
    TWO: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Normalized voxels, the gradient that they get, and what the slopes get from each."""
    normalized = (x - mean) * inverse_std
    local = (c - _at(c, c0, c1, 0, c0, c0 + c1)).to(tl.int64)
    slope = tl.load(_at(c, c0, c1, s0, s1, s2)).to(ACC)
    start = b.to(tl.int64) * _at(c, c0, c1, g0_stride, g1_stride, g2_stride) + local * voxels
    g = tl.load(_at(c, c0, c1, g0, g1, g2) + start + offsets, mask, other=0).to(ACC)
    negative = tl.minimum(normalized, 0)
    gradient, of_slope = tl.where(normalized > 0, g, g * slope), g * negative
    of_slope2 = tl.zeros_like(of_slope)
    if TWO:
        slope2 = tl.load(_at(c, c0, c1, t0, t1, t2)).to(ACC)
        start2 = b.to(tl.int64) * _at(c, c0, c1, h0_stride, h1_stride, h2_stride) + local * voxels
        h = tl.load(_at(c, c0, c1, h0, h1, h2) + start2 + offsets, mask, other=0).to(ACC)
        gradient += tl.where(normalized > 0, h, h * slope2)
        of_slope2 = h * negative
    return normalized, gradient, of_slope, of_slope2


@kernel
def _sums(
    p0, p1, p2, tumor, w1, w0, s0, s1, s2, t0, t1, t2, g0, g1, g2, h0, h1, h2,
    g0_stride, g1_stride, g2_stride, h0_stride, h1_stride, h2_stride,
    mean_in, inverse_std_in, sums, c0, c1, channels, voxels, chunks, rows,
    TWO: tl.constexpr, WEIGHED: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Of every chunk: sums of the gradient, of the gradient times what is normalized, and of what slopes get."""
    row, chunk = tl.program_id(1), tl.program_id(0)
    b, c = row // channels, row % channels
    mean, inverse_std = tl.load(mean_in + row), tl.load(inverse_std_in + row)
    plain = tl.full((), 0, ACC)
    along = tl.full((), 0, ACC)
    slope = tl.full((), 0, ACC)
    slope2 = tl.full((), 0, ACC)
    for step in range(STEPS):
        offsets = (chunk * STEPS + step) * BLOCK + tl.arange(0, BLOCK)
        mask = offsets < voxels
        x, factor = _load_row(
            p0, p1, p2, tumor, w1, w0, row, c, b, c0, c1, channels, offsets, mask, voxels, WEIGHED, ACC
        )
        normalized, gradient, of_slope, of_slope2 = _gradient_of_norm(
            x * factor, g0, g1, g2, h0, h1, h2, g0_stride, g1_stride, g2_stride, h0_stride, h1_stride, h2_stride,
            s0, s1, s2, t0, t1, t2, mean, inverse_std, c, b, c0, c1, offsets, mask, voxels, TWO, ACC,
        )  # fmt: skip
        plain += tl.sum(gradient, 0)
        along += tl.sum(gradient * normalized, 0)
        slope += tl.sum(of_slope, 0)
        slope2 += tl.sum(of_slope2, 0)
    place = sums + row * chunks + chunk
    tl.store(place, plain)
    tl.store(place + rows * chunks, along)
    tl.store(place + 2 * rows * chunks, slope)
    tl.store(place + 3 * rows * chunks, slope2)


@kernel
def _totals(
    sums, totals, of_slopes, c0, c1, channels, chunks, rows, parts,
    TWO: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr, CHUNKS: tl.constexpr,
):  # fmt: skip
    """The chunks of each row added up, the first two sums; a last program adds up what every slope gets."""
    row = tl.program_id(0)
    if row < rows:
        chunk = tl.arange(0, CHUNKS)
        plain = tl.load(sums + row * chunks + chunk, chunk < chunks, other=0)
        along = tl.load(sums + (rows + row) * chunks + chunk, chunk < chunks, other=0)
        tl.store(totals + row, tl.sum(plain, 0))
        tl.store(totals + rows + row, tl.sum(along, 0))
    else:
        for k in tl.static_range(1 + TWO):
            first = tl.full((BLOCK,), 0, ACC)
            second = tl.full((BLOCK,), 0, ACC)
            third = tl.full((BLOCK,), 0, ACC)
            for start in range(0, rows * chunks, BLOCK):
                offsets = start + tl.arange(0, BLOCK)
                value = tl.load(sums + (2 + k) * rows * chunks + offsets, offsets < rows * chunks, other=0)
                c = (offsets // chunks) % channels
                first += tl.where(c < c0, value, 0)
                second += tl.where((c >= c0) & (c < c0 + c1), value, 0)
                third += tl.where(c >= c0 + c1, value, 0)
            tl.store(of_slopes + k * parts, tl.sum(first, 0))
            tl.store(of_slopes + k * parts + 1, tl.sum(second, 0), parts > 1)
            tl.store(of_slopes + k * parts + 2, tl.sum(third, 0), parts > 2)


@kernel
def _backward_of_rows(
    p0, p1, p2, tumor, w1, w0, s0, s1, s2, t0, t1, t2, g0, g1, g2, h0, h1, h2,
    g0_stride, g1_stride, g2_stride, h0_stride, h1_stride, h2_stride,
    mean_in, inverse_std_in, sums, r0, r1, r2, of_gain, c0, c1, channels, voxels, chunks, rows, max_inverse_std,
    TWO: tl.constexpr, WEIGHED: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Gradients r of the parts; of weighed maps those of the third part alone, and what 1 + w1 - w0 gets."""
    row, chunk = tl.program_id(1), tl.program_id(0)
    if WEIGHED:
        own = channels - c0 - c1
        b, c = row // own, row % own + c0 + c1
        row = b * channels + c
    else:
        b, c = row // channels, row % channels
    mean, inverse_std = tl.load(mean_in + row), tl.load(inverse_std_in + row)
    plain, along = tl.load(sums + row) / voxels, tl.load(sums + rows + row) / voxels
    scale = tl.where(inverse_std > max_inverse_std, 0, inverse_std)
    first = _at(c, c0, c1, 0, c0, c0 + c1)
    width = _at(c, c0, c1, c0, c1, channels - c0 - c1)
    start = (b * width + c - first).to(tl.int64) * voxels
    result = _at(c, c0, c1, r0, r1, r2)
    gain = tl.full((), 0, ACC)
    for step in range(STEPS):
        offsets = (chunk * STEPS + step) * BLOCK + tl.arange(0, BLOCK)
        mask = offsets < voxels
        x, factor = _load_row(
            p0, p1, p2, tumor, w1, w0, row, c, b, c0, c1, channels, offsets, mask, voxels, WEIGHED, ACC
        )
        normalized, gradient, _, _ = _gradient_of_norm(
            x * factor, g0, g1, g2, h0, h1, h2, g0_stride, g1_stride, g2_stride, h0_stride, h1_stride, h2_stride,
            s0, s1, s2, t0, t1, t2, mean, inverse_std, c, b, c0, c1, offsets, mask, voxels, TWO, ACC,
        )  # fmt: skip
        gradient = (gradient - plain - normalized * along) * scale
        tl.store(result + start + offsets, gradient * factor, mask)
        gain += tl.sum(tl.where(mask, gradient * x, 0), 0)
    if WEIGHED:
        tl.store(of_gain + row * chunks + chunk, gain)


@kernel
def _backward_of_streams(
    p0, p1, p2, tumor, w1, w0, s0, s1, s2, t0, t1, t2, g0, g1, g2, h0, h1, h2,
    g0_stride, g1_stride, g2_stride, h0_stride, h1_stride, h2_stride,
    mean_in, inverse_std_in, sums, r0, r1, of_tumor, of_w1, of_w0, c0, c1, channels, voxels, blocks, rows,
    max_inverse_std, TWO: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients r of weighed CT and PET, of tumor, and of each block what w1 and w0 get."""
    b, block = tl.program_id(1), tl.program_id(0)
    offsets = block * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < voxels
    p = tl.load(tumor + b.to(tl.int64) * voxels + offsets, mask, other=0).to(ACC)
    total = tl.full(p.shape, 0, ACC)
    for c in range(c0 + c1):
        row = b * channels + c
        mean, inverse_std = tl.load(mean_in + row), tl.load(inverse_std_in + row)
        plain, along = tl.load(sums + row) / voxels, tl.load(sums + rows + row) / voxels
        scale = tl.where(inverse_std > max_inverse_std, 0, inverse_std)
        x, factor = _load_row(p0, p1, p2, tumor, w1, w0, row, c, b, c0, c1, channels, offsets, mask, voxels, True, ACC)
        normalized, gradient, _, _ = _gradient_of_norm(
            x * factor, g0, g1, g2, h0, h1, h2, g0_stride, g1_stride, g2_stride, h0_stride, h1_stride, h2_stride,
            s0, s1, s2, t0, t1, t2, mean, inverse_std, c, b, c0, c1, offsets, mask, voxels, TWO, ACC,
        )  # fmt: skip
        gradient = (gradient - plain - normalized * along) * scale
        width = tl.where(c < c0, c0, c1)
        start = (b * width + tl.where(c < c0, c, c - c0)).to(tl.int64) * voxels
        tl.store(tl.where(c < c0, r0, r1) + start + offsets, gradient * factor, mask)
        product = tl.where(mask, gradient * x, 0)
        both = tl.load(w1 + row).to(ACC) + tl.load(w0 + row).to(ACC)
        total += product * both
        place = (b * (c0 + c1) + c) * blocks + block
        tl.store(of_w1 + place, tl.sum(product * p, 0))
        tl.store(of_w0 + place, tl.sum(product * (p - 1), 0))
    tl.store(of_tumor + b.to(tl.int64) * voxels + offsets, total, mask)


@kernel
def _gain_totals(
    of_third, of_streams, of_w1, of_w0, c0, c1, channels, chunks, blocks, rows, streams_size,
    ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """What w1 and w0 of each row get: the blocks of CT and PET added up, or the chunks of the third part."""
    row = tl.program_id(0)
    b, c = row // channels, row % channels
    of_stream = c < c0 + c1
    start = tl.where(of_stream, (b * (c0 + c1) + c) * blocks, 0)
    count, count_third = tl.where(of_stream, blocks, 0), tl.where(of_stream, 0, chunks)
    gain1 = tl.full((BLOCK,), 0, ACC)
    gain0 = tl.full((BLOCK,), 0, ACC)
    third = tl.full((BLOCK,), 0, ACC)
    for at in range(0, tl.maximum(blocks, chunks), BLOCK):
        offsets = at + tl.arange(0, BLOCK)
        gain1 += tl.load(of_streams + start + offsets, offsets < count, other=0)
        gain0 += tl.load(of_streams + streams_size + start + offsets, offsets < count, other=0)
        third += tl.load(of_third + row * chunks + offsets, offsets < count_third, other=0)
    tl.store(of_w1 + row, tl.sum(gain1 + third, 0))
    tl.store(of_w0 + row, tl.sum(gain0 - third, 0))


@kernel
def _share_sums(
    x, share, sums, first, c0, channels, voxels, chunks, share_stride, rows,
    ACC: tl.constexpr, BLOCK: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Of every chunk of a row of one map: sums of x times the share, of x times 1 - share, and of the share."""
    own, chunk = tl.program_id(1), tl.program_id(0)
    b = own // c0
    row = b * channels + first + own % c0
    inside = tl.full((), 0, ACC)
    outside = tl.full((), 0, ACC)
    of_share = tl.full((), 0, ACC)
    for step in range(STEPS):
        offsets = (chunk * STEPS + step) * BLOCK + tl.arange(0, BLOCK)
        mask = offsets < voxels
        values = tl.load(x + own.to(tl.int64) * voxels + offsets, mask, other=0).to(ACC)
        p = tl.load(share + b.to(tl.int64) * share_stride + offsets, mask, other=0).to(ACC)
        inside += tl.sum(values * p, 0)
        outside += tl.sum(values * (1 - p), 0)
        of_share += tl.sum(p, 0)
    tl.store(sums + row * chunks + chunk, inside)
    tl.store(sums + (rows + row) * chunks + chunk, outside)
    tl.store(sums + (2 * rows + row) * chunks + chunk, of_share)


@kernel
def _share_means(
    sums, means, counts, first, c0, channels, voxels, chunks, rows, MASKED: tl.constexpr, CHUNKS: tl.constexpr
):
    """The chunks of each row of a share's maps added up, and divided by the voxels they are of."""
    own, chunk = tl.program_id(0), tl.arange(0, CHUNKS)
    b, c = own // c0, first + own % c0
    place = sums + (b * channels + c) * chunks + chunk
    inside = tl.sum(tl.load(place, chunk < chunks, other=0), 0)
    outside = tl.sum(tl.load(place + rows * chunks, chunk < chunks, other=0), 0)
    of_share = tl.sum(tl.load(place + 2 * rows * chunks, chunk < chunks, other=0), 0)
    count_in = of_share * 0 + voxels
    count_out = count_in
    if MASKED:
        count_out = voxels - of_share + 1
        count_in = of_share + 1
    at = b * 2 * channels + c
    tl.store(means + at, inside / count_in)
    tl.store(means + at + channels, outside / count_out)
    tl.store(counts + at, count_in)
    tl.store(counts + at + channels, count_out)


@kernel
def _means_backward(
    x, gradient, share, of_means, means, counts, result, of_share, first, c0, channels, voxels, share_stride,
    gradient_stride, MASKED: tl.constexpr, SHARE: tl.constexpr, ADD: tl.constexpr, ACC: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients of one map, another gradient of it included, and if SHARE of the share, to what is there if ADD."""
    b, block = tl.program_id(1), tl.program_id(0)
    offsets = block * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < voxels
    p = tl.load(share + b.to(tl.int64) * share_stride + offsets, mask, other=0).to(ACC)
    place = of_share + b.to(tl.int64) * voxels + offsets
    total = tl.full(p.shape, 0, ACC)
    if ADD:
        total = tl.load(place, mask, other=0).to(ACC)
    for c in range(c0):
        start = (b * c0 + c).to(tl.int64) * voxels
        at_in = b * 2 * channels + first + c
        at_out = at_in + channels
        inside = tl.load(of_means + at_in).to(ACC) / tl.load(counts + at_in)
        outside = tl.load(of_means + at_out).to(ACC) / tl.load(counts + at_out)
        g = tl.load(
            gradient + b.to(tl.int64) * gradient_stride + (b * 0 + c).to(tl.int64) * voxels + offsets, mask, other=0
        )
        tl.store(result + start + offsets, g.to(ACC) + outside + (inside - outside) * p, mask)
        if SHARE:
            values = tl.load(x + start + offsets, mask, other=0).to(ACC)
            total += values * (inside - outside)
            if MASKED:  # the counts depend on the share, too
                total += tl.load(means + at_out) * outside - tl.load(means + at_in) * inside
    if SHARE:
        tl.store(place, total, mask)


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
    """See ops.py."""
    maps, n = _Maps(parts, tumor, w1, w0), len(parts)
    outs = [_Slice(out) for out in outs]
    assert all(out.is_a_view for out in outs), "outs must be dense but for their batch stride"
    means = squares = mean
    with torch.cuda.device_of(mean):
        if not again:
            means, squares = (mean.new_empty(maps.rows, maps.chunks) for _ in range(2))
            _statistics[maps.grid](*maps.pointers, means, squares, *maps.sizes, maps.chunks, **maps.constants)
        _activate[maps.grid](
            *maps.pointers,
            *_three(slopes[:n]),
            *_three(slopes[-n:]),
            *_three([out.tensor for out in outs[:n]]),
            *_three([out.tensor for out in outs[-n:]]),
            *_three([out.stride for out in outs[:n]]),
            *_three([out.stride for out in outs[-n:]]),
            *(means, squares, mean, inverse_std),
            *maps.sizes,
            maps.chunks,
            EPS=EPS,
            AGAIN=again,
            TWO=len(slopes) > n,
            CHUNKS=triton.next_power_of_2(maps.chunks),
            **maps.constants,
        )


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
    """See ops.py."""
    maps, n = _Maps(parts, tumor, w1, w0), len(parts)
    slices = [_Slice(gradient) for gradient in gradients]
    incoming = (
        *(*_three(slopes[:n]), *_three(slopes[-n:])),
        *(*_three([each.tensor for each in slices[:n]]), *_three([each.tensor for each in slices[-n:]])),
        *(*_three([each.stride for each in slices[:n]]), *_three([each.stride for each in slices[-n:]])),
        *(mean, inverse_std),
    )
    sums = mean.new_empty(4, maps.rows, maps.chunks)
    of_parts = [torch.empty_like(part, memory_format=torch.contiguous_format) for part in parts]
    results, two, counts = _three(of_parts), len(slopes) > n, (*maps.sizes, maps.chunks, maps.rows)
    with torch.cuda.device_of(mean):
        _sums[maps.grid](
            *maps.pointers, *incoming, sums, *maps.sizes, maps.chunks, maps.rows, TWO=two, **maps.constants
        )
        totals, of_slopes = mean.new_empty(2, maps.rows), slopes[0].new_empty(len(slopes), dtype=mean.dtype)
        accumulator, chunks = maps.constants["ACC"], triton.next_power_of_2(maps.chunks)
        _totals[(maps.rows + 1,)](
            sums, totals, of_slopes, *maps.sizes[:3], maps.chunks, maps.rows, n,
            TWO=two, ACC=accumulator, BLOCK=BLOCK, CHUNKS=chunks,
        )  # fmt: skip
        limit = ops.MAX_CONSTANT_INVERSE_STD
        rows = len(parts[0]) * maps.widths[-1] if maps.weighed else maps.rows
        of_third = mean.new_empty(maps.rows, maps.chunks) if maps.weighed else mean
        _backward_of_rows[(maps.chunks, rows)](
            *maps.pointers, *incoming, totals, *results, of_third, *counts, limit, TWO=two, **maps.constants
        )
        if tumor is None or w1 is None or w0 is None:
            return [*of_parts, of_slopes.to(slopes[0].dtype)]
        blocks, streams = triton.cdiv(maps.voxels, BLOCK), sum(maps.widths[:2])
        of_tumor = torch.empty_like(tumor, memory_format=torch.contiguous_format)
        of_streams = mean.new_empty(2, len(tumor), streams, blocks)
        _backward_of_streams[(blocks, len(tumor))](
            *maps.pointers, *incoming, totals, *results[:2], of_tumor, *of_streams, *maps.sizes, blocks, maps.rows,
            limit, TWO=two, ACC=accumulator, BLOCK=BLOCK,
        )  # fmt: skip
        of_w1, of_w0 = (torch.empty_like(w, memory_format=torch.contiguous_format) for w in (w1, w0))
        _gain_totals[(maps.rows,)](
            of_third, of_streams, of_w1, of_w0, *maps.sizes[:3], maps.chunks, blocks, maps.rows, of_streams[0].numel(),
            ACC=accumulator, BLOCK=BLOCK,
        )  # fmt: skip
    return [*of_parts, of_slopes.to(slopes[0].dtype), of_tumor, of_w1, of_w0]


def means_by_share(
    maps: Sequence[Tensor], shares: Sequence[Tensor], spans: Sequence[int], masked: bool
) -> list[Tensor]:
    """See ops.py."""
    b, channels, first, maps = len(maps[0]), sum(x.shape[1] for x in maps), 0, list(maps)
    means, counts = (maps[0].new_empty(b, 2, channels, dtype=exact_dtype(maps[0])) for _ in range(2))
    accumulator, rows = _TYPES[means.dtype], b * channels
    with torch.cuda.device_of(means):
        for share, span in zip(shares, spans, strict=True):
            share, voxels, first_of_share = share.contiguous(), share[0].numel(), first
            steps = _steps(voxels)
            chunks = triton.cdiv(voxels, BLOCK * steps)
            sums = means.new_empty(3, rows, chunks)
            for x in maps[:span]:
                _share_sums[(chunks, b * x.shape[1])](
                    x.contiguous(), share, sums, first, x.shape[1], channels, voxels, chunks,
                    voxels if len(share) > 1 else 0, rows, ACC=accumulator, BLOCK=BLOCK, STEPS=steps,
                )  # fmt: skip
                first += x.shape[1]
            del maps[:span]
            width = first - first_of_share
            _share_means[(b * width,)](
                sums, means, counts, first_of_share, width, channels, voxels, chunks, rows,
                MASKED=masked, CHUNKS=triton.next_power_of_2(chunks),
            )  # fmt: skip
    return [means, counts]


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
    """See ops.py."""
    means_gradient, b, first = means_gradient.contiguous(), len(maps[0]), 0
    of_maps: list[Tensor] = []
    of_each = [share.new_empty(b, *share.shape[1:]) for share in shares] if of_shares else list(shares)
    with torch.cuda.device_of(counts):
        for share, of_share, span in zip(shares, of_each, spans, strict=True):
            share, voxels = share.contiguous(), share[0].numel()
            for i in range(span):
                x, gradient = maps[len(of_maps)].contiguous(), _Slice(gradients[len(of_maps)])
                result = torch.empty_like(x).contiguous()
                _means_backward[(triton.cdiv(voxels, BLOCK), b)](
                    x, gradient.tensor, share, means_gradient, counts if means is None else means, counts, result,
                    of_share, first, x.shape[1], counts.shape[2], voxels, voxels if len(share) > 1 else 0,
                    gradient.stride, MASKED=means is not None, SHARE=of_shares, ADD=of_shares and i > 0,
                    ACC=_TYPES[counts.dtype], BLOCK=BLOCK,
                )  # fmt: skip
                of_maps.append(result)
                first += x.shape[1]
    return [*of_maps, *(of_each if of_shares else [])]


_TYPES = {torch.float32: tl.float32, torch.float64: tl.float64}


class _Maps:
    """Parts as kernels take them."""

    def __init__(self, parts: Sequence[Tensor], tumor: Tensor | None, w1: Tensor | None, w0: Tensor | None):
        self.weighed = tumor is not None
        self.widths = [part.shape[1] for part in parts]
        self.channels = sum(self.widths)
        self.rows = len(parts[0]) * self.channels
        self.voxels = parts[0][0, 0].numel()
        steps = _steps(self.voxels)
        self.chunks = triton.cdiv(self.voxels, BLOCK * steps)
        self.grid = (self.chunks, self.rows)
        parts = [part.contiguous() for part in parts]
        weighing = [parts[0] if each is None else each.contiguous() for each in (tumor, w1, w0)]
        self.pointers = (*_three(parts), *weighing)
        self.sizes = (*[*self.widths, 0][:2], self.channels, self.voxels)
        accumulator = _TYPES[exact_dtype(parts[0])]
        self.constants = {"WEIGHED": self.weighed, "ACC": accumulator, "BLOCK": BLOCK, "STEPS": steps}


class _Slice:
    """A map of dense items: a batch of them, or of slices of the channels of larger ones."""

    def __init__(self, x: Tensor):
        self.is_a_view = x[0].is_contiguous()
        self.tensor = x if self.is_a_view else x.contiguous()
        self.stride = self.tensor.stride(0)


def _three(values: Sequence) -> list:
    """For three parts at most; those that are missing have no channels."""
    return [*values, *[values[-1]] * (3 - len(values))]


def _steps(voxels: int) -> int:
    return next(steps for steps in (1, 4, STEPS) if voxels <= BLOCK * steps or steps == STEPS)
