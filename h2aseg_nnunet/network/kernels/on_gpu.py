"""How a CUDA card computes the blocks: as few passes over the maps as possible, for memory bounds their time.

- Norm, PReLU and TAMW's weights are one operation (ops.py), for both streams at once.
- A block's last two convolutions are one: conv2(a) + conv_skip(b) is the convolution of a and b side by side.
- Nothing between two convolutions is kept for backward: it is computed once more.
"""

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from h2aseg_nnunet.network.kernels.attention_on_gpu import bidirectional_attention
from h2aseg_nnunet.network.kernels.blocks_on_gpu import (
    Blocks,
    Geometry,
    MeansByShare,
    NormPReLUConv,
    NormPReLUs,
    Stems,
    WeighDecoder,
)
from h2aseg_nnunet.network.kernels.stacking import stack_pairs
from h2aseg_nnunet.network.norm import compute_dtype, exact_dtype
from h2aseg_nnunet.network.resize import resize
from h2aseg_nnunet.network.tamw import GatedTAMW, per_voxel

if TYPE_CHECKING:
    from h2aseg_nnunet.network.blocks import NormPReLU, ResidualBlock, StemBlock
    from h2aseg_nnunet.network.decoder import DecoderStage, SegLayer
    from h2aseg_nnunet.network.tamw import TAMW

__all__ = [
    "bidirectional_attention",
    "decoder_stage",
    "norm_prelus",
    "residual_blocks",
    "seg_layer",
    "stem_blocks",
]


def norm_prelus(modules: "Sequence[NormPReLU]", maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
    dtype = compute_dtype(maps[0])
    slopes = [module.activation.weight for module in modules]
    return NormPReLUs.apply(len(maps), *(x.to(dtype) for x in maps), *slopes)


def stem_blocks(blocks: "Sequence[StemBlock]", maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
    dtype = compute_dtype(maps[0])
    masks = [_dropout_mask(block.dropout, maps[0], block.conv1.out_channels) for block in blocks]
    slopes = [block.norm_activation.activation.weight for block in blocks]
    return Stems.apply(len(blocks), masks, *(x.to(dtype) for x in maps), *slopes, *_parameters(blocks))


def residual_blocks(blocks: "Sequence[ResidualBlock]", maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return _residual_blocks(blocks, maps, (None, None, None))


def seg_layer(layer: "SegLayer", x: Tensor) -> Tensor:
    geometry = Geometry.of(layer.conv)
    return NormPReLUConv.apply(
        x.to(compute_dtype(x)), geometry, layer.activation.weight, layer.conv.weight, layer.conv.bias
    )


def decoder_stage(stage: "DecoderStage", **features: Tensor) -> Tensor:
    """TAMW and the block behind it; the weighed maps of CT and PET are never written."""
    weigh = _gated if isinstance(stage.tamw, GatedTAMW) else _published
    parts, weighing = weigh(stage.tamw, **features)
    (output,) = _residual_blocks([stage.block], parts, weighing)
    return output


def _published(
    tamw: "TAMW", ct: Tensor, pet: Tensor, decoder: Tensor, tumor: Tensor
) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """What the block reads, and what weighs it.

    The means pass the gradient of their maps on, which is one addition of a map less each.
    """
    size = ct.shape[2:]
    shares = (tumor, _share_of_resized(decoder, size))
    ct, pet, decoder, means = MeansByShare.apply(False, (2, 1), *shares, ct, pet, decoder)
    w1, w0 = _gains(tamw, means)
    return [ct, pet, resize(decoder, size)], (tumor, w1, w0)


def _gated(
    tamw: GatedTAMW, ct: Tensor, pet: Tensor, decoder: Tensor, tumor: Tensor, coarse_tumor: Tensor
) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """The same for GatedTAMW; decoder features are weighed at their own resolution, where maps are small."""
    ct, pet, decoder, means = MeansByShare.apply(True, (2, 1), tumor, coarse_tumor, ct, pet, decoder)
    with torch.autocast(ct.device.type, enabled=False):
        gains, shift = tamw.gains_and_shift(means)
    streams_gain, decoder_gain = gains.split((sum(tamw.parts[:2]), tamw.parts[2]), dim=1)
    decoder_gain, shift = per_voxel(decoder_gain, like=decoder), per_voxel(shift, like=decoder)
    decoder = WeighDecoder.apply(decoder, coarse_tumor.to(decoder.dtype), decoder_gain, shift)
    w1 = F.pad(streams_gain, (0, tamw.parts[2]))
    return [ct, pet, resize(decoder, ct.shape[2:])], (tumor, w1, torch.zeros_like(w1))


@torch.no_grad()
def _share_of_resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """(1, 1, *): x times these has the mean of `resize(x, size)`, whose gradient they are."""
    extents = list(x.shape[2:])
    aten = torch.ops.aten
    backward = {2: aten.upsample_bilinear2d_backward.default, 3: aten.upsample_trilinear3d_backward.default}
    share = torch.full((1, 1, *size), prod(extents) / prod(size), dtype=exact_dtype(x), device=x.device)
    return backward[len(extents)](share, list(size), [1, 1, *extents], True)


def _gains(tamw: "TAMW", means: Tensor) -> tuple[Tensor, Tensor]:
    """Gains of tumor and of background, (b, c), by one product per layer.

    Of the decoder's features (b, 2, c) holds the same mean for both in the place of the tumor's.
    """
    with torch.autocast(means.device.type, enabled=False):
        streams, decoder = means.split((sum(tamw.parts[:2]), tamw.parts[2]), 2)
        pooled = torch.cat([streams, decoder[:, :1].expand(-1, 2, -1)], 2).permute(1, 2, 0)  # (2, c, b)
        of_tumor, of_background = (
            [gains.fc1.weight, gains.fc1.bias, gains.fc2.weight, gains.fc2.bias]
            for gains in (tamw.tumor_gains, tamw.background_gains)
        )
        weight1, bias1, weight2, bias2 = stack_pairs(of_tumor, of_background, pooled.dtype)
        hidden = torch.baddbmm(bias1.unsqueeze(-1), weight1, pooled).tanh()
        w1, w0 = torch.baddbmm(bias2.unsqueeze(-1), weight2, hidden).tanh().mT.unbind(0)
    return w1, w0


def _residual_blocks(
    blocks: "Sequence[ResidualBlock]",
    parts: Sequence[Tensor],
    weighing: tuple[Tensor | None, Tensor | None, Tensor | None],
) -> tuple[Tensor, ...]:
    dtype = compute_dtype(parts[0])
    slopes = [block.activation1.weight for block in blocks]
    slopes += [block.activation_skip.weight for block in blocks]
    slopes += [block.activation2.weight for block in blocks]
    first = blocks[0]
    geometry = tuple(Geometry.of(conv) for conv in (first.conv1, first.conv_skip, first.conv2))
    masks = [_dropout_mask(block.dropout, parts[0], block.conv1.out_channels) for block in blocks]
    parts = [part.to(dtype) for part in parts]
    return Blocks.apply(len(blocks), len(parts), geometry, masks, *parts, *weighing, *slopes, *_parameters(blocks))


def _parameters(blocks: "Sequence[StemBlock | ResidualBlock]") -> list[Tensor | None]:
    """Weights of conv1, conv_skip and conv2 and then their biases, of one block after another."""
    convs = [(block.conv1, block.conv_skip, block.conv2) for block in blocks]
    return [each for three in convs for each in (*(c.weight for c in three), *(c.bias for c in three))]


def _dropout_mask(dropout: nn.Module, x: Tensor, channels: int) -> Tensor | None:
    """What channel dropout multiplies each channel with, or None where it does nothing."""
    if not dropout.training or isinstance(dropout, nn.Identity):
        return None
    return dropout(torch.ones(len(x), channels, *[1] * (x.ndim - 2), dtype=compute_dtype(x), device=x.device))
