"""Decoder: at each stage up-sample, weigh by TAMW, refine, and predict logits."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from h2aseg_nnunet.network import kernels
from h2aseg_nnunet.network.blocks import ResidualBlock, make_conv
from h2aseg_nnunet.network.encoder import Encoder
from h2aseg_nnunet.network.norm import instance_norm
from h2aseg_nnunet.network.resize import resize
from h2aseg_nnunet.network.tamw import TAMW, GatedTAMW


class SegLayer(nn.Module):
    """Head: instance norm, PReLU, convolution to class logits. (b, c, *) -> (b, num_classes, *)."""

    def __init__(self, encoder: Encoder, stage: int, num_classes: int):
        super().__init__()
        channels = 2 * encoder.output_channels[stage]
        self.activation = nn.PReLU()
        self.conv = make_conv(encoder.conv_op, channels, num_classes, encoder.kernel_sizes[stage])

    def forward(self, x: Tensor) -> Tensor:
        if kernels.use_fused(self, x):
            return kernels.seg_layer(self, x)
        return self.conv(self.activation(instance_norm(x)))


class SegLayers(nn.ModuleList):
    """The heads of all stages, deepest first, and what their logits stand for: classes or regions.

    Regions (nnU-Net's region-based labels, which may overlap) have no background channel. A single output channel is
    always a region. nnU-Net does not say which kind the labels are when it rebuilds a network, so the flag is stored in
    the state_dict. nnU-Net's -pretrained_weights leaves it alone, as it does the heads.
    """

    regions: Tensor

    def __init__(self, encoder: Encoder, num_classes: int, regions: bool):
        deepest_first = range(len(encoder.output_channels) - 1, -1, -1)
        super().__init__(SegLayer(encoder, stage, num_classes) for stage in deepest_first)
        regions = regions or num_classes == 1
        self.register_buffer("regions", torch.tensor(regions))
        self.has_regions = regions  # the buffer's value for `forward`: reading a tensor would stall a GPU

    def set_regions(self, regions: bool) -> None:
        self.has_regions = regions
        self.regions.fill_(regions)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.has_regions = bool(self.regions)


class DecoderStage(nn.Module):
    """Bring features and prediction of the coarser stage to this one, weigh all features, refine.

    Shape:
        ct, pet: (b, c_l, *); decoder: (b, 2 c_(l+1), *) and logits: (b, num_classes, *) of the coarser stage.
        regions: Whether the logits stand for regions. Output: (b, 2 c_l, *).
    """

    tamw: TAMW | GatedTAMW | None

    def __init__(self, encoder: Encoder, stage: int, dropout: float, tamw: type[TAMW | GatedTAMW] | None = TAMW):
        super().__init__()
        skip_channels, decoder_channels = encoder.output_channels[stage], 2 * encoder.output_channels[stage + 1]
        self.tamw = None if tamw is None else tamw(skip_channels, decoder_channels)
        self.block = ResidualBlock(
            encoder.conv_op,
            2 * skip_channels + decoder_channels,
            2 * skip_channels,
            encoder.kernel_sizes[stage],
            conv_bias=encoder.conv_bias,
            dropout=dropout,
        )

    @property
    def is_gated(self) -> bool:
        """Whether TAMW has its gated form, which reads the coarser prediction as it is."""
        return isinstance(self.tamw, GatedTAMW)

    def forward(self, ct: Tensor, pet: Tensor, decoder: Tensor, logits: Tensor, regions: bool) -> Tensor:
        if self.tamw is None:
            return self.block(torch.cat([ct, pet, resize(decoder, ct.shape[2:])], dim=1))
        sizes = {"tumor": ct.shape[2:]}
        if self.is_gated:
            sizes["coarse_tumor"] = decoder.shape[2:]
        guides = tumor_probabilities(logits, list(sizes.values()), regions)
        features = {"ct": ct, "pet": pet, "decoder": decoder, **dict(zip(sizes, guides, strict=True))}
        if kernels.use_fused(self, ct):
            return kernels.decoder_stage(self, **features)
        return self.block(self.tamw(**features))


class Decoder(nn.Module):
    """From the deepest features to logits at every stage.

    Every stage has a head, also where deep supervision is off: its prediction drives TAMW at the next finer stage.
    Stages and heads are ordered as computed, deepest first. The heads are called `seg_layers` as in
    dynamic_network_architectures, so that nnU-Net's -pretrained_weights knows them.

    Args:
        encoder: Its output_channels, kernel_sizes, conv_op and conv_bias shape the decoder; it is not stored.
        num_classes: Classes, background included; or regions.
        deep_supervision: Return the logits of all stages instead of full resolution only. May be switched any time.
        dropout: Channel dropout in the residual blocks.
        regions: Whether logits stand for regions instead of classes; see SegLayers.
        tamw: TAMW or GatedTAMW, which weighs the features at each stage; with None they are concatenated as they are.

    Shape:
        features: one (ct, pet) pair per stage, full resolution first, each (b, c_l, *).
        Output: (b, num_classes, *), or with deep supervision a list of them, full resolution first, each at its
        stage's resolution.
    """

    def __init__(
        self,
        encoder: Encoder,
        num_classes: int,
        deep_supervision: bool,
        dropout: float = 0.0,
        regions: bool = False,
        tamw: type[TAMW | GatedTAMW] | None = TAMW,
    ):
        super().__init__()
        self.deep_supervision = deep_supervision
        self.has_tamw = tamw is not None
        from_deepest_but_one = range(len(encoder.output_channels) - 2, -1, -1)
        self.stages = nn.ModuleList(DecoderStage(encoder, stage, dropout, tamw) for stage in from_deepest_but_one)
        self.seg_layers = SegLayers(encoder, num_classes, regions)

    def forward(self, features: list[tuple[Tensor, Tensor]]) -> Tensor | list[Tensor]:
        *skips, deepest = features
        decoder = torch.cat(deepest, dim=1)
        deepest_head, *heads = self.seg_layers
        logits = [deepest_head(decoder)]
        for stage, head, (ct, pet) in zip(self.stages, heads, reversed(skips), strict=True):
            guide = logits[-1].detach() if self.deep_supervision and stage.is_gated else logits[-1]
            decoder = stage(ct=ct, pet=pet, decoder=decoder, logits=guide, regions=self.seg_layers.has_regions)
            logits.append(head(decoder))
        return logits[::-1] if self.deep_supervision else logits[-1]


def tumor_probability(logits: Tensor, size: Sequence[int], regions: bool = False) -> Tensor:
    """(b, num_classes, *) -> (b, 1, *size): probability of anything but background, from up-sampled logits.

    Classes: 1 - p(background), every foreground class is target; with the release's two classes this is its softmax.
    Regions: the largest region's probability, for regions may lie within one another.
    """
    (probability,) = tumor_probabilities(logits, [size], regions)
    return probability


def tumor_probabilities(logits: Tensor, sizes: Sequence[Sequence[int]], regions: bool = False) -> list[Tensor]:
    """`tumor_probability` at several resolutions."""
    if not regions and logits.shape[1] == 2:  # interpolation is linear: one map of differences is enough
        difference = logits[:, 1:] - logits[:, :1]
        return [resize(difference, size).sigmoid() for size in sizes]
    resized = (resize(logits, size) for size in sizes)
    if regions:
        return [each.amax(dim=1, keepdim=True).sigmoid() for each in resized]
    return [(each[:, 1:].logsumexp(dim=1, keepdim=True) - each[:, :1]).sigmoid() for each in resized]
