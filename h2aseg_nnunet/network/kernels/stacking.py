"""Many small tensors by one launch: cast to another type, and stacked in pairs."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def cast(tensors: Sequence[Tensor | None], dtype: torch.dtype) -> list[Tensor | None]:
    """All tensors in another type; those that have it, and None, stay as they are."""
    others = [each for each in tensors if each is not None and each.dtype != dtype]
    results = [torch.empty_like(each, dtype=dtype, memory_format=torch.contiguous_format) for each in others]
    if others:
        torch._foreach_copy_(results, others)
    found = iter(results)
    return [each if each is None or each.dtype == dtype else next(found) for each in tensors]


def stack_pairs(firsts: Sequence[Tensor], seconds: Sequence[Tensor], dtype: torch.dtype) -> tuple[Tensor, ...]:
    """`torch.stack([first, second])` of each pair, in another type; gradients reach both."""
    return _StackedPairs.apply(dtype, *firsts, *seconds)


class _StackedPairs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *tensors: Tensor) -> tuple[Tensor, ...]:
        firsts, seconds = tensors[: len(tensors) // 2], tensors[len(tensors) // 2 :]
        ctx.type = firsts[0].dtype
        stacked = [first.new_empty(2, *first.shape, dtype=dtype) for first in firsts]
        torch._foreach_copy_([each[0] for each in stacked] + [each[1] for each in stacked], [*firsts, *seconds])
        return tuple(stacked)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradients = cast(gradients, ctx.type)
        return None, *(each[0] for each in gradients), *(each[1] for each in gradients)
