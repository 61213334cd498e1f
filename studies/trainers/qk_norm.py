"""H2ASeg whose attention normalizes queries and keys, besides the tokens that it reads."""

import torch
from torch import Tensor, nn

from h2aseg_nnunet.network.attention import CrossModalAttention, Projections
from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg

EPS = 1e-6


class QKNorm(nn.Module):
    """Divide queries and keys of one direction by their root mean square over channels, and scale them.

    Without a norm of tokens, attention reads residual maps that no norm bounds. Scores are products of two projections
    of such maps. They grow with the square of their size until every token reads a single one. Normalized, a score is
    sqrt(k) times the cosine of query and key; the learned gains, which start at 1, sharpen it.

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


class QKNormAttention(CrossModalAttention):
    """CrossModalAttention with a QKNorm; made from one that exists, whose weights it keeps."""

    qk_norm: QKNorm

    @classmethod
    def replace(cls, attention: CrossModalAttention) -> None:
        """Turn an attention into this one, in place."""
        attention.__class__ = cls
        attention.qk_norm = QKNorm(attention.key_channels)

    def project(self, target: Tensor, source: Tensor) -> Projections:
        *queries_and_keys, value_target, value_source = super().project(target, source)
        return Projections(*self.qk_norm(*queries_and_keys), value_target, value_source)


class nnUNetTrainerH2ASeg_qkNorm(nnUNetTrainerH2ASeg):
    """Attention normalizes queries and keys."""

    @classmethod
    def adjust_network(cls, network: nn.Module) -> None:
        super().adjust_network(network)
        for module in [each for each in network.modules() if type(each) is CrossModalAttention]:
            QKNormAttention.replace(module)


def _normalize(tokens: Tensor, gain: Tensor) -> Tensor:
    """In float32 at least: squares of features leave float16's range."""
    exact = tokens.to(torch.promote_types(tokens.dtype, torch.float32))
    return (exact * (exact.square().mean(-1, keepdim=True) + EPS).rsqrt() * gain).to(tokens.dtype)
