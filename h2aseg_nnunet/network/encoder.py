"""Encoder: at each stage one residual block per stream, then the streams interact."""

from collections.abc import Sequence

from torch import Tensor, nn

from h2aseg_nnunet.network import kernels
from h2aseg_nnunet.network.attention import GlobalAttention
from h2aseg_nnunet.network.blocks import ConvOp, ResidualBlock, StemBlock
from h2aseg_nnunet.network.layout import AttentionLayout
from h2aseg_nnunet.network.mcsa import MCSA

Block = StemBlock | ResidualBlock


class EncoderStage(nn.Module):
    """A residual block per stream, with separate weights, then an interaction (or none).

    Shape:
        ct, pet: (b, c_in, *); both outputs: (b, c, *), every extent divided by the stage's stride.
    """

    def __init__(self, ct_block: Block, pet_block: Block, interaction: nn.Module | None):
        super().__init__()
        self.ct_block = ct_block
        self.pet_block = pet_block
        self.interaction = interaction

    def forward(self, ct: Tensor, pet: Tensor) -> tuple[Tensor, Tensor]:
        if kernels.use_fused(self, ct):
            ct, pet = self.ct_block.fused([self.ct_block, self.pet_block], [ct, pet])
        else:
            ct, pet = self.ct_block(ct), self.pet_block(pet)
        return (ct, pet) if self.interaction is None else self.interaction(ct=ct, pet=pet)


class Encoder(nn.Module):
    """Two streams of residual blocks with cross-modal interaction.

    Attributes read by the decoder: conv_op, conv_bias, kernel_sizes, strides and output_channels (per stream).

    Args:
        input_channels: Input channels of the CT and of the PET stream.
        features_per_stage: Features of each stream per stage.
        conv_op, kernel_sizes, strides, conv_bias: The arguments of H2ASeg, one entry per stage and axis.
        attention: Where and how the streams interact.
        token_norm: Whether attention normalizes what it reads; see BidirectionalAttention.
        residual_mcsa: Whether MCSA has its residual form; see MCSA.
        dropout: Channel dropout in the residual blocks.
        attention_dropout: Dropout in attention.

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
        token_norm: bool = False,
        residual_mcsa: bool = False,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
    ):
        super().__init__()
        self.conv_op = conv_op
        self.conv_bias = conv_bias
        self.kernel_sizes = kernel_sizes
        self.strides = strides
        self.output_channels = features_per_stage

        def make_block(stage: int, in_channels: int) -> Block:
            channels, kernel_size = features_per_stage[stage], kernel_sizes[stage]
            if stage == 0:
                return StemBlock(conv_op, in_channels, channels, kernel_size, conv_bias, dropout)
            return ResidualBlock(conv_op, in_channels, channels, kernel_size, strides[stage], conv_bias, dropout)

        def make_interaction(stage: int) -> nn.Module | None:
            channels = features_per_stage[stage]
            options = {"dropout": attention_dropout, "token_norm": token_norm}
            if attention.interactions[stage] == "mcsa":
                window, merge = attention.window_size, attention.merge_sizes[stage]
                return MCSA(conv_op, channels, window, merge, residual=residual_mcsa, **options)
            if attention.interactions[stage] == "global":
                return GlobalAttention(channels, **options)
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
