"""Attention on a CPU a few windows at a time: scores live in the processor's cache and are computed again in backward.

PyTorch's fused CPU kernel wants queries as wide as values, which MCSA's are not (zeros would add a third to its
arithmetic), and knows no dropout. In chunks the plain formula is as fast.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

SCORES_PER_CHUNK = 2**20
"""4 MB in float32: what a core's cache holds."""


def chunked_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """Scaled dot-product attention in every window by itself, computed in float32 at least.

    Shape:
        query, key: (b, n, t, k); value and output: (b, n, t, c); mask: (1, n, t), False at keys to ignore, or None.
    """
    if mask is not None:
        mask = mask.expand(len(query), -1, -1).flatten(0, 1).unsqueeze(1)
    at_least_float32 = torch.promote_types(value.dtype, torch.float32)
    windows = (tokens.flatten(0, 1).to(at_least_float32) for tokens in (query, key, value))
    with torch.autocast("cpu", enabled=False):
        output = _ChunkedAttention.apply(*windows, mask, dropout)
    return output.view(value.shape).to(value.dtype)


class _ChunkedAttention(torch.autograd.Function):
    """query, key: (n, t, k); value and output: (n, t, c). Backward draws the same dropout once more."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
        ctx.save_for_backward(query, key, value, mask)
        ctx.dropout, ctx.random_state = dropout, torch.get_rng_state()
        output = value.new_empty(value.shape)
        for at, windows, weights, kept in _chunks(query, key, mask, dropout, torch.default_generator):
            output[at] = torch.bmm(weights if kept is None else weights * kept, value[windows])
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, mask = ctx.saved_tensors
        query_gradient, key_gradient, value_gradient = (x.new_zeros(x.shape) for x in (query, key, value))
        scale = query.shape[-1] ** -0.5
        generator = torch.Generator().set_state(ctx.random_state)
        for at, windows, weights, kept in _chunks(query, key, mask, ctx.dropout, generator):
            weights_gradient = torch.bmm(gradient[at], value[windows].mT)
            dropped = weights
            if kept is not None:
                weights_gradient, dropped = weights_gradient.mul_(kept), weights * kept
            value_gradient[windows] += torch.bmm(dropped.mT, gradient[at])
            # softmax: dS = P * (dP - sum(dP * P))
            scores_gradient = torch._softmax_backward_data(weights_gradient, weights, -1, weights.dtype)
            query_gradient[at] = torch.bmm(scores_gradient, key[windows]).mul_(scale)
            key_gradient[windows] += torch.bmm(scores_gradient.mT, query[at]).mul_(scale)
        return query_gradient, key_gradient, value_gradient, None, None


def _chunks(
    query: Tensor, key: Tensor, mask: Tensor | None, dropout: float, generator: torch.Generator
) -> Iterator[tuple[tuple[slice, slice], slice, Tensor, Tensor | None]]:
    """Where queries are, which windows these are, attention weights, and what dropout multiplies them with."""
    n, t = query.shape[:2]
    windows_at_once = max(1, SCORES_PER_CHUNK // t**2)
    queries_at_once = t if windows_at_once > 1 else max(1, SCORES_PER_CHUNK // t)
    for i in range(0, n, windows_at_once):
        windows = slice(i, i + windows_at_once)
        for j in range(0, t, queries_at_once):
            at = windows, slice(j, j + queries_at_once)
            scores = torch.bmm(query[at], key[windows].mT).mul_(query.shape[-1] ** -0.5)
            if mask is not None:
                scores.masked_fill_(~mask[windows], -torch.inf)
            weights = scores.softmax(-1)
            yield at, windows, weights, _draw(weights, dropout, generator) if dropout else None


def _draw(weights: Tensor, dropout: float, generator: torch.Generator) -> Tensor:
    """0 with probability `dropout`, else what keeps the mean at 1.

    16 random bits a weight, four weights at a time: bernoulli_ takes ten times as long and more than all the rest.
    """
    drawn = torch.empty(-(-weights.numel() // 4), dtype=torch.int64)
    drawn = drawn.random_(-(2**63), None, generator=generator).view(torch.int16)[: weights.numel()]
    dropped = round(dropout * 2**16)
    kept = drawn.view(weights.shape) >= dropped - 2**15
    return kept.to(weights.dtype).mul_(2**16 / max(2**16 - dropped, 1))
