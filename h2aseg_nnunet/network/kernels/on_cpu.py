"""How a CPU computes the blocks: channels last, norm and PReLU recomputed in backward, attention in chunks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from h2aseg_nnunet.network.kernels import norm_prelu_on_cpu
from h2aseg_nnunet.network.kernels.chunked_attention import chunked_attention
from h2aseg_nnunet.network.kernels.memory_format import to_fast_layout
from h2aseg_nnunet.network.kernels.norm_prelu_on_cpu import norm_prelu_convs

if TYPE_CHECKING:
    from h2aseg_nnunet.network.attention import BidirectionalAttention, CrossModalAttention
    from h2aseg_nnunet.network.blocks import NormPReLU, ResidualBlock, StemBlock
    from h2aseg_nnunet.network.decoder import DecoderStage, SegLayer


def norm_prelus(modules: "Sequence[NormPReLU]", maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return tuple(
        norm_prelu_on_cpu.norm_prelu(x, module.activation.weight) for module, x in zip(modules, maps, strict=True)
    )


def stem_blocks(blocks: "Sequence[StemBlock]", maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return tuple(_stem_block(block, x) for block, x in zip(blocks, maps, strict=True))


def _stem_block(block: "StemBlock", x: Tensor) -> Tensor:
    main, skip = _both_convs(block, x)
    main = norm_prelu_on_cpu.norm_prelu(main, block.norm_activation.activation.weight)
    return to_fast_layout(block.conv2(block.dropout(main))).add_(skip)


def _both_convs(block: "StemBlock", x: Tensor) -> tuple[Tensor, Tensor]:
    """conv1 and conv_skip as one convolution of two groups: PyTorch does not give a single channel to oneDNN."""
    weight = torch.cat([block.conv1.weight, block.conv_skip.weight])
    bias = None if block.conv1.bias is None else torch.cat([block.conv1.bias, block.conv_skip.bias])
    convolve = F.conv2d if x.ndim == 4 else F.conv3d
    both = convolve(to_fast_layout(torch.cat([x, x], 1)), weight, bias, padding=block.conv1.padding, groups=2)
    main, skip = both.chunk(2, dim=1)
    return to_fast_layout(main), skip


def residual_blocks(blocks: "Sequence[ResidualBlock]", maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return tuple(_residual_block(block, x) for block, x in zip(blocks, maps, strict=True))


def _residual_block(block: "ResidualBlock", x: Tensor) -> Tensor:
    main, skip = norm_prelu_convs(x, [block.activation1, block.activation_skip], [block.conv1, block.conv_skip])
    (main,) = norm_prelu_convs(block.dropout(main), [block.activation2], [block.conv2])
    return main.add_(skip)


def seg_layer(layer: "SegLayer", x: Tensor) -> Tensor:
    return norm_prelu_convs(x, [layer.activation], [layer.conv])[0]


def decoder_stage(stage: "DecoderStage", **features: Tensor) -> Tensor:
    assert stage.tamw is not None
    return stage.block(stage.tamw(**features))


def bidirectional_attention(
    module: "BidirectionalAttention", ct: Tensor, pet: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    ct, pet = module.ct_norm(ct), module.pet_norm(pet)
    return _attention(module.ct_reads_pet, ct, pet, mask), _attention(module.pet_reads_ct, pet, ct, mask)


def _attention(attention: "CrossModalAttention", target: Tensor, source: Tensor, mask: Tensor | None) -> Tensor:
    """Values pass the output projection first.

    Attention is linear in its values: the mean of both results need not be kept for backward to be projected.
    """
    from_target = F.linear(target, _with_output(attention, attention.from_target.weight, attention.target_parts))
    from_source = F.linear(source, _with_output(attention, attention.from_source.weight, attention.source_parts))
    query_target, query_source, key_target, value_target = from_target.split(attention.target_parts, -1)
    key_source, value_source = from_source.split(attention.source_parts, -1)
    dropout = attention.dropout.p if attention.training else 0.0
    own = attend(query_target, key_target, value_target, mask, dropout)
    other = attend(query_source, key_source, value_source, mask, dropout)
    return attention.dropout(own + other)


def _with_output(attention: "CrossModalAttention", weight: Tensor, parts: tuple[int, ...]) -> Tensor:
    """A projection whose last rows, those of the values, are multiplied with half the output projection."""
    *others, value = weight.split(parts)
    return torch.cat([*others, attention.output_weight() @ value / 2])


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """Scaled dot-product attention in every window; PyTorch's fused kernel wants equal widths and no dropout."""
    if dropout or query.shape[-1] != value.shape[-1]:
        return chunked_attention(query, key, value, mask, dropout)
    # windows take the place of heads
    return F.scaled_dot_product_attention(query, key, value, attn_mask=None if mask is None else mask.unsqueeze(-2))
