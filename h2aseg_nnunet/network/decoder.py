"""Decoder: at each stage up-sample, weigh by TAMW, refine, and predict logits."""

import torch
from torch import Tensor, nn

from h2aseg_nnunet.network.blocks import NormPReLU, ResidualBlock, make_conv, resize
from h2aseg_nnunet.network.encoder import Encoder
from h2aseg_nnunet.network.tamw import TAMW


class SegLayer(nn.Module):
    """Head: instance norm, PReLU, convolution to class logits. (b, c, *) -> (b, num_classes, *)."""

    def __init__(self, encoder: Encoder, stage: int, num_classes: int):
        super().__init__()
        channels = 2 * encoder.output_channels[stage]
        self.norm_activation = NormPReLU()
        self.conv = make_conv(encoder.conv_op, channels, num_classes, encoder.kernel_sizes[stage])

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.norm_activation(x))


class DecoderStage(nn.Module):
    """Bring features and prediction of the coarser stage to this one, weigh all features, refine.

    Shape:
        ct, pet: (b, c_l, *); decoder: (b, 2 c_(l+1), *) and logits: (b, num_classes, *) of the coarser stage.
        Output: (b, 2 c_l, *).
    """

    def __init__(self, encoder: Encoder, stage: int, dropout: float):
        super().__init__()
        skip_channels, decoder_channels = encoder.output_channels[stage], 2 * encoder.output_channels[stage + 1]
        self.tamw = TAMW(skip_channels, decoder_channels)
        self.block = ResidualBlock(
            encoder.conv_op,
            2 * skip_channels + decoder_channels,
            2 * skip_channels,
            encoder.kernel_sizes[stage],
            conv_bias=encoder.conv_bias,
            dropout=dropout,
        )

    def forward(self, ct: Tensor, pet: Tensor, decoder: Tensor, logits: Tensor) -> Tensor:
        size = ct.shape[2:]
        tumor, background = tumor_and_background(resize(logits, size))
        weighted = self.tamw(ct=ct, pet=pet, decoder=resize(decoder, size), tumor=tumor, background=background)
        return self.block(weighted)


class Decoder(nn.Module):
    """From the deepest features to logits at every stage.

    Every stage has a head, also where deep supervision is off: its prediction drives TAMW at the next finer stage.
    Stages and heads are ordered as computed, deepest first. The heads are called `seg_layers` as in
    dynamic_network_architectures, so that nnU-Net's -pretrained_weights knows them.

    Args:
        encoder: Its output_channels, kernel_sizes, conv_op and conv_bias shape the decoder; it is not stored.
        num_classes: Classes, background included.
        deep_supervision: Return the logits of all stages instead of full resolution only. May be switched any time.
        dropout: Channel dropout in the residual blocks.

    Shape:
        features: one (ct, pet) pair per stage, full resolution first, each (b, c_l, *).
        Output: (b, num_classes, *), or with deep supervision a list of them, full resolution first, each at its
        stage's resolution.
    """

    def __init__(self, encoder: Encoder, num_classes: int, deep_supervision: bool, dropout: float = 0.0):
        super().__init__()
        self.deep_supervision = deep_supervision
        deepest_first = range(len(encoder.output_channels) - 1, -1, -1)
        self.stages = nn.ModuleList(DecoderStage(encoder, stage, dropout) for stage in deepest_first[1:])
        self.seg_layers = nn.ModuleList(SegLayer(encoder, stage, num_classes) for stage in deepest_first)

    def forward(self, features: list[tuple[Tensor, Tensor]]) -> Tensor | list[Tensor]:
        *skips, deepest = features
        decoder = torch.cat(deepest, dim=1)
        logits = [self.seg_layers[0](decoder)]
        for stage, seg_layer, (ct, pet) in zip(self.stages, self.seg_layers[1:], reversed(skips), strict=True):
            decoder = stage(ct=ct, pet=pet, decoder=decoder, logits=logits[-1])
            logits.append(seg_layer(decoder))
        return logits[::-1] if self.deep_supervision else logits[-1]


def tumor_and_background(logits: Tensor) -> tuple[Tensor, Tensor]:
    """(b, num_classes, *) -> two probability maps (b, 1, *): anything but background, and background.

    The release has two classes, where this is the softmax itself; with more, every foreground class is target.
    """
    probabilities = logits.softmax(dim=1)
    return probabilities[:, 1:].sum(dim=1, keepdim=True), probabilities[:, :1]
