"""Encoder: at each stage one residual block per stream, then the streams interact."""

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from h2aseg_nnunet.network.attention import GlobalAttention
from h2aseg_nnunet.network.blocks import ResidualBlock, StemBlock
from h2aseg_nnunet.network.mcsa import MCSA

INTERACTIONS = ("none", "mcsa", "global")
MAX_GLOBAL_POSITIONS = 4096


def stage_sizes(patch_size: Sequence[int], strides: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """Extents of the feature maps of every stage; a stride that does not divide an extent rounds up."""
    sizes = [tuple(patch_size)]
    for stride in strides[1:]:
        sizes.append(tuple(-(-extent // s) for extent, s in zip(sizes[-1], stride, strict=True)))
    return sizes


def default_interactions(patch_size: Sequence[int], strides: Sequence[Sequence[int]]) -> list[str]:
    """How the streams interact at each stage of a plan.

    Stage 1 has no interaction (published; attention at full resolution costs the most and its features say the least).
    Global attention where the map has at most 4,096 positions: there it costs less than the convolutions around it.
    MCSA elsewhere. For the published patch of 128 x 128 x 64 this is none, MCSA, MCSA, global, global.
    """
    sizes = stage_sizes(patch_size, strides)
    return ["none"] + ["global" if prod(size) <= MAX_GLOBAL_POSITIONS else "mcsa" for size in sizes[1:]]


class EncoderStage(nn.Module):
    """A residual block per stream, with separate weights, then an interaction (or none).

    Shape:
        ct, pet: (b, c_in, *); both outputs: (b, c, *), every extent divided by the stage's stride.
    """

    def __init__(self, ct_block: nn.Module, pet_block: nn.Module, interaction: nn.Module | None):
        super().__init__()
        self.ct_block = ct_block
        self.pet_block = pet_block
        self.interaction = interaction

    def forward(self, ct: Tensor, pet: Tensor) -> tuple[Tensor, Tensor]:
        ct, pet = self.ct_block(ct), self.pet_block(pet)
        return (ct, pet) if self.interaction is None else self.interaction(ct=ct, pet=pet)


class Encoder(nn.Module):
    """Two streams of residual blocks with cross-modal interaction.

    Attributes read by the decoder: conv_op, conv_bias, kernel_sizes, strides and output_channels (per stream).

    Shape:
        ct, pet: (b, number of channels of the stream, *).
        Output: one (ct, pet) pair per stage, full resolution first, each (b, c_l, *).
    """

    def __init__(
        self,
        input_channels: tuple[int, int],
        features_per_stage: Sequence[int],
        conv_op: type[_ConvNd],
        kernel_sizes: Sequence[Sequence[int]],
        strides: Sequence[Sequence[int]],
        conv_bias: bool,
        interactions: Sequence[str],
        window_size: Sequence[int],
        merge_sizes: Sequence[Sequence[int]],
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
    ):
        super().__init__()
        self.conv_op = conv_op
        self.conv_bias = conv_bias
        self.kernel_sizes = kernel_sizes
        self.strides = strides
        self.output_channels = features_per_stage

        def make_block(stage: int, in_channels: int) -> nn.Module:
            shape = (conv_op, in_channels, features_per_stage[stage], kernel_sizes[stage])
            if stage == 0:
                return StemBlock(*shape, conv_bias=conv_bias, dropout=dropout)
            return ResidualBlock(*shape, strides[stage], conv_bias=conv_bias, dropout=dropout)

        def make_interaction(stage: int) -> nn.Module | None:
            channels = features_per_stage[stage]
            if interactions[stage] == "mcsa":
                return MCSA(conv_op, channels, window_size, merge_sizes[stage], attention_dropout)
            if interactions[stage] == "global":
                return GlobalAttention(channels, attention_dropout)
            return None

        self.stages = nn.ModuleList()
        ct_channels, pet_channels = input_channels
        for stage, channels in enumerate(features_per_stage):
            ct_block, pet_block = make_block(stage, ct_channels), make_block(stage, pet_channels)
            self.stages.append(EncoderStage(ct_block, pet_block, make_interaction(stage)))
            ct_channels = pet_channels = channels

    def forward(self, ct: Tensor, pet: Tensor) -> list[tuple[Tensor, Tensor]]:
        features = []
        for stage in self.stages:
            ct, pet = stage(ct=ct, pet=pet)
            features.append((ct, pet))
        return features
