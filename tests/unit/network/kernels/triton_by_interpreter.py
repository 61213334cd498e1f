"""Every Triton kernel against its formula of ops.py, by Triton's interpreter.

Run by integration/test_triton.py in a process of its own.

The interpreter is chosen by an environment variable before Triton is imported.
"""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from h2aseg_nnunet.network.kernels import ops, triton_kernels

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4, torch.float16: 2e-3}


def check_norm_prelu(widths: Sequence[int], size: Sequence[int], weighed: bool, two: bool, dtype: torch.dtype) -> None:
    """One to three parts, slices of larger maps as outputs and gradients, a constant channel."""
    exact = torch.promote_types(dtype, torch.float32)
    torch.manual_seed(0)
    parts = [3 * torch.randn(2, width, *size, dtype=dtype) + 1 for width in widths]
    parts[-1][0, 0] = 2
    weighing: tuple = (None, None, None)
    if weighed:
        weighing = (torch.rand(2, 1, *size, dtype=dtype), *torch.randn(2, 2, sum(widths), dtype=exact))
    slopes = [torch.tensor([0.1 + 0.3 * i], dtype=exact) for i in range(len(widths) * (1 + two))]
    room = [torch.zeros(2, width + 3, *size, dtype=dtype) for width in (*widths, *widths)[: len(slopes)]]
    gradients = [torch.randn_like(each)[:, 2:-1] for each in room]

    results = []
    for way in (ops, triton_kernels):
        outs = [each.clone()[:, 2:-1] for each in room]
        statistics = [torch.empty(2, sum(widths), dtype=exact) for _ in range(2)]
        way.norm_prelu(parts, *weighing, slopes, outs, *statistics, False)
        again = [torch.zeros_like(each) for each in outs]
        way.norm_prelu(parts, *weighing, slopes, again, *statistics, True)
        back = way.norm_prelu_backward(gradients, parts, *weighing, slopes, *statistics)
        results.append([*outs, *again, *statistics, *back])
    compare(*results, dtype)


def check_means_by_share(masked: bool, of_shares: bool, dtype: torch.dtype) -> None:
    """Two maps of one share, and one of other extents whose share is the same for both items."""
    torch.manual_seed(0)
    fine, coarse, spans = (5, 5, 7), (3, 3, 4), [2, 1]
    shapes = (2, *fine), (2, *fine), (3, *coarse)
    maps = [torch.randn(2, *shape, dtype=dtype) + 1 for shape in shapes]
    gradients = [torch.randn(2, width + 2, *size, dtype=dtype)[:, 1:-1] for width, *size in shapes]
    shares = [torch.rand(2, 1, *fine, dtype=dtype), torch.rand(1, 1, *coarse, dtype=dtype)]
    of_means = torch.randn(2, 2, 7, dtype=torch.promote_types(dtype, torch.float32))

    results = []
    for way in (ops, triton_kernels):
        means, counts = way.means_by_share(maps, shares, spans, masked)
        which = (spans, means if masked else None, counts, of_shares)
        results.append([means, counts, *way.means_by_share_backward(gradients, of_means, maps, shares, *which)])
    compare(*results, dtype)


def compare(expected: Sequence[Tensor], given: Sequence[Tensor], dtype: torch.dtype) -> None:
    for a, b in zip(given, expected, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        scale = max(1.0, b.double().abs().max().item())
        torch.testing.assert_close(a, b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale)


if __name__ == "__main__":
    triton_kernels.BLOCK, triton_kernels.STEPS = 32, 2  # small maps then have several blocks and chunks
    for widths, weighed in (([3], False), ([2, 2], False), ([2, 2, 3], True)):
        for two, size, dtype in ((True, (5, 5, 7), torch.float64), (False, (3, 5), torch.float16)):
            check_norm_prelu(widths, size, weighed, two, dtype)
    check_norm_prelu([2, 2, 3], (5, 5, 7), weighed=True, two=True, dtype=torch.float32)
    for dtype in (torch.float64, torch.float16):
        for masked, of_shares in product((True, False), repeat=2):
            check_means_by_share(masked, of_shares, dtype)
    print("all kernels equal their formulas")
