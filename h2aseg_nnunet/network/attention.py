"""Bidirectional attention: CT reads itself and PET, PET reads itself and CT."""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from h2aseg_nnunet.network import kernels


class Projections(NamedTuple):
    """What one direction of attention compares and reads: queries and keys (b, n, t, k), values (b, n, t, c)."""

    query_target: Tensor
    query_source: Tensor
    key_target: Tensor
    key_source: Tensor
    value_target: Tensor
    value_source: Tensor


class CrossModalAttention(nn.Module):
    """One direction of bidirectional attention: the target stream reads itself and the source stream.

    Both queries come from the target. The two results are averaged and projected. Projections that read the same
    stream are stored as one matrix, rows in the order of the `split` below.

    Attributes:
        key_channels: Channels k of queries and keys.

    Args:
        channels: Features c of each stream; values have as many.
        reduction: Queries and keys have c / reduction channels (r in the paper).
        dropout: Dropout on the attention weights and on the output.
        layer_scale: First value of what each channel of the output is multiplied with, which is learned (LayerScale,
            Touvron et al., arXiv:2103.17239); None for no such factor. Published: none.

    Shape:
        target, source and output: (b, n, t, c), n windows of t tokens; every window is on its own.
        mask: (1, n, t), False at tokens that must not be read, or None.

    Raises:
        ValueError: If fewer than one channel would be left for queries and keys.

    Reference:
        Lu et al., H2ASeg, arXiv:2403.18339.
    """

    def __init__(self, channels: int, reduction: int = 1, dropout: float = 0.0, layer_scale: float | None = None):
        super().__init__()
        if channels < reduction:
            raise ValueError(f"channels={channels} must be at least reduction={reduction}: widen features_per_stage.")
        key = self.key_channels = channels // reduction
        self.target_parts = (key, key, key, channels)  # query to target, query to source, key, value
        self.source_parts = (key, channels)  # key, value
        self.from_target = nn.Linear(channels, sum(self.target_parts), bias=False)
        self.from_source = nn.Linear(channels, sum(self.source_parts), bias=False)
        self.out = nn.Linear(channels, channels, bias=False)
        self.layer_scale = None if layer_scale is None else nn.Parameter(torch.full((channels,), layer_scale))
        self.dropout = nn.Dropout(dropout)

    def forward(self, target: Tensor, source: Tensor, mask: Tensor | None = None) -> Tensor:
        tokens = self.project(target, source)
        dropout = self.dropout.p if self.training else 0.0
        own = attend(tokens.query_target, tokens.key_target, tokens.value_target, mask, dropout)
        other = attend(tokens.query_source, tokens.key_source, tokens.value_source, mask, dropout)
        update = self.out((own + other) / 2)
        return self.dropout(update if self.layer_scale is None else update * self.layer_scale)

    def output_weight(self) -> Tensor:
        """(c, c): the output projection, its rows times the layer scale."""
        weight = self.out.weight
        return weight if self.layer_scale is None else weight * self.layer_scale.unsqueeze(-1)

    def project(self, target: Tensor, source: Tensor) -> Projections:
        """Queries, keys and values of tokens (b, n, t, c)."""
        query_target, query_source, key_target, value_target = self.from_target(target).split(self.target_parts, -1)
        key_source, value_source = self.from_source(source).split(self.source_parts, -1)
        return Projections(query_target, query_source, key_target, key_source, value_target, value_source)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, dropout: float = 0.0) -> Tensor:
    """Scaled dot-product attention in every window: softmax(query key^T / sqrt(k)) value.

    Shape:
        query, key: (b, n, t, k); value and output: (b, n, t, c) with c >= k; mask: (1, n, t), False at keys to ignore.
    """
    scale = query.shape[-1] ** -0.5
    # Windows take the place of heads. The fused kernels want one head size: zeros leave the scores as they are.
    widen = value.shape[-1] - query.shape[-1]
    query, key = F.pad(query, (0, widen)), F.pad(key, (0, widen))
    mask = None if mask is None else mask.unsqueeze(-2)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, scale=scale)


class BidirectionalAttention(nn.Module):
    """Both directions, with separate weights; each reads the streams as they came in.

    The release has no norm of tokens. Between windows and at the deepest stages both directions read residual maps,
    which are not normalized. Their output can grow much larger than the map it is added to; the next norm then
    suppresses the local features. A layer norm of what is read prevents it (Xiong et al., arXiv:2002.04745).

    Args:
        channels, reduction, dropout, layer_scale: See CrossModalAttention.
        token_norm: Whether the tokens of each stream pass a layer norm of their own first.

    Shape:
        ct, pet and both outputs: (b, n, t, c). mask as in CrossModalAttention, the same for both streams.
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 1,
        dropout: float = 0.0,
        token_norm: bool = False,
        layer_scale: float | None = None,
    ):
        super().__init__()
        self.ct_norm = nn.LayerNorm(channels) if token_norm else nn.Identity()
        self.pet_norm = nn.LayerNorm(channels) if token_norm else nn.Identity()
        self.ct_reads_pet = CrossModalAttention(channels, reduction, dropout, layer_scale)
        self.pet_reads_ct = CrossModalAttention(channels, reduction, dropout, layer_scale)

    def forward(self, ct: Tensor, pet: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if kernels.use_fused(self, ct):
            return kernels.bidirectional_attention(self, ct=ct, pet=pet, mask=mask)
        ct, pet = self.ct_norm(ct), self.pet_norm(pet)
        ct_update = self.ct_reads_pet(target=ct, source=pet, mask=mask)
        pet_update = self.pet_reads_ct(target=pet, source=ct, mask=mask)
        return ct_update, pet_update


class GlobalAttention(nn.Module):
    """Bidirectional attention over all positions of a small map, with a residual connection (r = 1).

    Args:
        channels, dropout, token_norm: See BidirectionalAttention.

    Shape:
        ct, pet and both outputs: (b, c, *).
    """

    def __init__(self, channels: int, dropout: float = 0.0, token_norm: bool = False):
        super().__init__()
        self.attention = BidirectionalAttention(channels, reduction=1, dropout=dropout, token_norm=token_norm)

    def forward(self, ct: Tensor, pet: Tensor) -> tuple[Tensor, Tensor]:
        ct_update, pet_update = self.attention(ct=to_tokens(ct), pet=to_tokens(pet))
        return ct + from_tokens(ct_update, like=ct), pet + from_tokens(pet_update, like=pet)


def to_tokens(x: Tensor) -> Tensor:
    """(b, c, *) -> (b, 1, t, c): every position is a token of one window."""
    return rearrange(x, "b c ... -> b 1 (...) c")


def from_tokens(tokens: Tensor, like: Tensor) -> Tensor:
    """(b, 1, t, c) -> (b, c, *) with the extents of `like`."""
    return torch.unflatten(rearrange(tokens, "b 1 t c -> b c t"), 2, like.shape[2:])
