"""Normalised queries and keys: attention stays soft however large features grow; the release has none."""

import torch
from torch import Tensor, nn

from h2aseg_nnunet.network.attention import CrossModalAttention

EPS = 1e-6


class QKNorm(nn.Module):
    """Queries and keys of one direction divided by their root mean square over channels, times learned gains.

    Without normalised tokens (token_norm.py) attention reads residual maps that no norm bounds: every block ends in a
    sum, and the next one normalises its own copy. Scores are products of two projections of such maps: they grow with
    the square of their size, until every token reads a single one, and the gradient of queries and keys is next to
    nothing or, where two tokens compete, large. Normalised, a score is sqrt(k) times the cosine of query and key; the
    gains, which start at 1, sharpen it.

    Args:
        key_channels: Channels k of queries and keys.

    Shape:
        queries and keys, and each output: (b, n, t, k).

    Reference:
        Henry et al., arXiv:2010.04245; with root mean square and gains as in Dehghani et al., arXiv:2302.05442.
    """

    def __init__(self, key_channels: int):
        super().__init__()
        self.gains = nn.Parameter(torch.ones(4, key_channels))

    def forward(
        self, query_target: Tensor, query_source: Tensor, key_target: Tensor, key_source: Tensor
    ) -> tuple[Tensor, ...]:
        tokens = (query_target, query_source, key_target, key_source)
        return tuple(_normalize(each, gain) for each, gain in zip(tokens, self.gains, strict=True))


def normalize_queries_and_keys(network: nn.Module) -> None:
    """Give every attention of `network` a QKNorm."""
    for module in network.modules():
        if isinstance(module, CrossModalAttention):
            module.qk_norm = QKNorm(module.key_channels)


def _normalize(tokens: Tensor, gain: Tensor) -> Tensor:
    """In float32 at least: squares of features leave float16's range."""
    exact = tokens.to(torch.promote_types(tokens.dtype, torch.float32))
    return (exact * (exact.square().mean(-1, keepdim=True) + EPS).rsqrt() * gain).to(tokens.dtype)
