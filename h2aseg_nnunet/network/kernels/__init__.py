"""Fused blocks: the same numbers as the plain formulas, with less memory and time.

A module asks `use_fused(self, x)` and calls the function of its name here, else it computes its formula. Behind each
function lie a CPU's way (on_cpu.py) and a CUDA card's (on_gpu.py). tests/unit/network/kernels holds that fused equals
plain.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from torch import Tensor

from h2aseg_nnunet.network.kernels import on_cpu, on_gpu
from h2aseg_nnunet.network.kernels.switch import as_on_a_gpu, plain, runs_on_cpu, use_fused

if TYPE_CHECKING:
    from h2aseg_nnunet.network.attention import BidirectionalAttention
    from h2aseg_nnunet.network.blocks import NormPReLU, ResidualBlock, StemBlock
    from h2aseg_nnunet.network.decoder import DecoderStage, SegLayer

__all__ = [
    "as_on_a_gpu",
    "bidirectional_attention",
    "decoder_stage",
    "norm_prelus",
    "plain",
    "residual_blocks",
    "seg_layer",
    "stem_blocks",
    "use_fused",
]


def _way(x: Tensor) -> ModuleType:
    return on_cpu if runs_on_cpu(x) else on_gpu


def norm_prelus(modules: "Sequence[NormPReLU]", maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Each module of its map, all of the same shape: (b, c, *) -> (b, c, *)."""
    return _way(maps[0]).norm_prelus(modules, maps)


def stem_blocks(blocks: "Sequence[StemBlock]", maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Each block of its map: (b, in_channels, *) -> (b, out_channels, *)."""
    return _way(maps[0]).stem_blocks(blocks, maps)


def residual_blocks(blocks: "Sequence[ResidualBlock]", maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Each block of its map: (b, in_channels, *) -> (b, out_channels, *), extents divided by the stride, rounded up."""
    return _way(maps[0]).residual_blocks(blocks, maps)


def seg_layer(layer: "SegLayer", x: Tensor) -> Tensor:
    """(b, c, *) -> (b, num_classes, *)."""
    return _way(x).seg_layer(layer, x)


def decoder_stage(stage: "DecoderStage", **features: Tensor) -> Tensor:
    """TAMW and the residual block behind it. Arguments and shapes are those of its TAMW; output (b, 2 c_l, *)."""
    return _way(features["ct"]).decoder_stage(stage, **features)


def bidirectional_attention(
    module: "BidirectionalAttention", ct: Tensor, pet: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Shapes as in BidirectionalAttention."""
    return _way(ct).bidirectional_attention(module, ct=ct, pet=pet, mask=mask)
