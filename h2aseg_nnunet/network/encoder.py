"""Encoder: at each stage one residual block per stream, then the streams interact."""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from torch import Tensor, nn

from h2aseg_nnunet.network.attention import GlobalAttention
from h2aseg_nnunet.network.blocks import ConvOp, ResidualBlock, StemBlock
from h2aseg_nnunet.network.mcsa import MCSA, default_window_size
from h2aseg_nnunet.network.windows import divide_up

INTERACTIONS = ("none", "mcsa", "global")
MAX_GLOBAL_POSITIONS = 4096


class AttentionLayout(NamedTuple):
    """How the streams interact.

    Attributes:
        interactions: One of INTERACTIONS per stage.
        window_size: Extents of MCSA's windows.
        merge_sizes: MCSA's merge extents per stage.
        positions: Whether tokens carry where they are.
    """

    interactions: list[str]
    window_size: tuple[int, ...]
    merge_sizes: list[list[int]]
    positions: bool = False


def stage_sizes(patch_size: Sequence[int], strides: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """Extents of the feature maps of every stage; a stride that does not divide an extent rounds up."""
    sizes = [tuple(patch_size)]
    for stride in strides[1:]:
        sizes.append(tuple(divide_up(sizes[-1], stride)))
    return sizes


def default_interactions(patch_size: Sequence[int], strides: Sequence[Sequence[int]]) -> list[str]:
    """How the streams interact at each stage of a plan.

    Stage 1 has no interaction (published; attention at full resolution costs the most and its features say the least).
    Global attention where the map has at most 4,096 positions, for its cost grows with their square: this includes
    stage 4 of the published patch (16 x 16 x 8) and of nnU-Net's usual 128 x 128 x 128 (16 x 16 x 16). MCSA elsewhere.
    For the published patch of 128 x 128 x 64 this is none, MCSA, MCSA, global, global.
    """
    sizes = stage_sizes(patch_size, strides)
    return ["none"] + ["global" if prod(size) <= MAX_GLOBAL_POSITIONS else "mcsa" for size in sizes[1:]]


def lay_out_attention(
    strides: Sequence[Sequence[int]],
    patch_size: Sequence[int] | None = None,
    interactions: Sequence[str] | None = None,
    window_size: Sequence[int] | None = None,
    positions: bool = False,
) -> AttentionLayout:
    """What is not given follows from the patch by `default_interactions` and `default_window_size`.

    Merge extents are the smallest window extent on every axis (published: 4), but never more than the map has.

    Raises:
        ValueError: If an argument does not fit the others or is missing; the message names it.
    """
    n_stages, dimension = len(strides), len(strides[0])
    if patch_size is None:
        if interactions is None or window_size is None:
            raise ValueError("Give patch_size, or both interactions and window_size: they decide where attention sits.")
        sizes = None
    else:
        if len(patch_size) != dimension:
            raise ValueError(f"patch_size={list(patch_size)}: expected {dimension} extents, as many as conv_op has.")
        sizes = stage_sizes(patch_size, strides)
        interactions = interactions or default_interactions(patch_size, strides)
        window_size = window_size or default_window_size(patch_size)
    if len(interactions) != n_stages or not set(interactions) <= set(INTERACTIONS):
        raise ValueError(f"interactions={list(interactions)}: expected {n_stages} out of {INTERACTIONS}.")
    if len(window_size) != dimension:
        raise ValueError(f"window_size={list(window_size)}: expected {dimension} extents, as many as conv_op has.")
    merge = min(window_size)
    merge_sizes = [[min(merge, n) for n in size] for size in sizes or [[merge] * dimension] * n_stages]
    return AttentionLayout(list(interactions), tuple(window_size), merge_sizes, positions)


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
        conv_op: ConvOp,
        kernel_sizes: Sequence[Sequence[int]],
        strides: Sequence[Sequence[int]],
        conv_bias: bool,
        attention: AttentionLayout,
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
            channels, kernel_size = features_per_stage[stage], kernel_sizes[stage]
            if stage == 0:
                return StemBlock(conv_op, in_channels, channels, kernel_size, conv_bias, dropout)
            return ResidualBlock(conv_op, in_channels, channels, kernel_size, strides[stage], conv_bias, dropout)

        def make_interaction(stage: int) -> nn.Module | None:
            channels = features_per_stage[stage]
            if attention.interactions[stage] == "mcsa":
                window, merge = attention.window_size, attention.merge_sizes[stage]
                return MCSA(conv_op, channels, window, merge, attention_dropout, attention.positions)
            if attention.interactions[stage] == "global":
                return GlobalAttention(channels, attention_dropout, attention.positions)
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
