"""H2ASeg: stacked channels -> CT and PET streams -> encoder -> decoder -> logits. Read this first."""

from collections.abc import Sequence
from typing import Any

from dynamic_network_architectures.building_blocks.helper import convert_conv_op_to_dim
from dynamic_network_architectures.initialization.weight_init import InitWeights_He
from torch import Tensor, nn

from h2aseg_nnunet.network.blocks import ConvOp
from h2aseg_nnunet.network.decoder import Decoder
from h2aseg_nnunet.network.encoder import Encoder
from h2aseg_nnunet.network.intensity import SUV_SCALE, CompressSUV
from h2aseg_nnunet.network.layout import (
    assign_streams,
    check_sizes,
    check_stock_options,
    lay_out_attention,
    per_stage_and_axis,
)
from h2aseg_nnunet.network.tamw import TAMW, GatedTAMW


class H2ASeg(nn.Module):
    """Hierarchical Adaptive Interaction and Weighting Network for tumor segmentation in PET/CT.

    The constructor takes the keys of nnU-Net's plans, as the networks of dynamic_network_architectures do, so that a
    plans file can name this class. What H2ASeg fixes by itself (number of convolutions, norm, non-linearity) is
    accepted under the stock U-Nets' keys and not used: blocks have two convolutions, instance norm without affine and
    PReLU. What would silently change the meaning of a plan (batch norm, dropout_op) is refused.

    Departures from the release; with its weights and published configuration the outputs are the same:
    - Any plan: 2D and 3D, any number of stages, anisotropic kernels and strides. Where the release hard-codes
      stages, layout.py gives the rules.
    - Maps that strides or windows do not divide: see `resize` (blocks.py) and `MCSA`.
    - More than two classes, or regions: see `tumor_probability` (decoder.py).
    - Convolution weights start as nnU-Net's do (He), for PReLU's initial slope of 0.25; the release leaves
      PyTorch's defaults. Attention projections and TAMW keep PyTorch's defaults.

    Args:
        input_channels: Channels of the stacked input, at least 2.
        n_stages: Number of resolutions, at least 2.
        features_per_stage: Features *per stream* at each stage, at least 4; the published network has
            8, 16, 32, 64, 128.
        conv_op: torch.nn.Conv2d or torch.nn.Conv3d.
        kernel_sizes: Odd kernel extents per stage; one number serves every stage and axis.
        strides: Strides per stage, the first 1; one number serves every later stage and axis.
        num_classes: Classes, background included, at least 2; or regions, at least 1.
        conv_bias: Whether the convolutions of residual blocks carry a bias (heads always do).
        deep_supervision: Return the logits of all stages; see Decoder.
        patch_size: Extents of the input the network is planned for. Larger and smaller inputs work too.
            Needed unless both `interactions` and `window_size` are given.
        interactions: "none", "mcsa" or "global", for each stage or once for all; by default chosen by
            `default_interactions` (layout.py).
        window_size: Extents of MCSA's windows; by default chosen by `default_window_size` (layout.py).
        ct_channels, pet_channels: Input channels of each stream; by default channel 0 is CT and all others are PET.
            A channel may feed both.
        suv_channels: Input channels that hold SUV, which are compressed first; see `CompressSUV`. Published: none.
        suv_scale: SUV at which compression begins.
        regions: Whether logits stand for nnU-Net's regions instead of classes. Loading weights sets it too: SegLayers.
        tamw: Whether TAMW weighs features; without it the decoder concatenates them as they are (an ablation).
        gated_tamw: Whether TAMW has the form of `GatedTAMW`. Published: no.
        attention_token_norm: Whether attention normalizes what it reads; see `BidirectionalAttention`. Published: no.
        residual_mcsa: Whether MCSA adds to the encoder's residual path; see `MCSA`. Published: no, it lies on it.
        encoder_dropout, decoder_dropout, attention_dropout: 0 as in nnU-Net; the published network has 0.5 in all.
        stock_options: Other keys of the stock U-Nets' plans; see `check_stock_options` (layout.py).

    Shape:
        x: (b, input_channels, *). Output: (b, num_classes, *), or with deep supervision a list of such logits, full
        resolution first, each at its stage's resolution, the deepest included.

    Raises:
        ValueError: If an argument does not fit; the message names it.
        TypeError: If an argument is unknown.

    Reference:
        Lu et al., MICCAI 2024, arXiv:2403.18339.
    """

    def __init__(
        self,
        input_channels: int,
        n_stages: int,
        features_per_stage: Sequence[int],
        conv_op: ConvOp,
        kernel_sizes: int | Sequence[int | Sequence[int]],
        strides: int | Sequence[int | Sequence[int]],
        num_classes: int,
        conv_bias: bool = True,
        deep_supervision: bool = False,
        *,
        patch_size: Sequence[int] | None = None,
        interactions: str | Sequence[str] | None = None,
        window_size: Sequence[int] | None = None,
        ct_channels: Sequence[int] | None = None,
        pet_channels: Sequence[int] | None = None,
        suv_channels: Sequence[int] = (),
        suv_scale: float = SUV_SCALE,
        regions: bool = False,
        tamw: bool = True,
        gated_tamw: bool = False,
        attention_token_norm: bool = False,
        residual_mcsa: bool = False,
        encoder_dropout: float = 0.0,
        decoder_dropout: float = 0.0,
        attention_dropout: float = 0.0,
        **stock_options: Any,
    ):
        super().__init__()
        check_stock_options(stock_options)
        dimension = convert_conv_op_to_dim(conv_op)
        kernel_sizes = per_stage_and_axis("kernel_sizes", kernel_sizes, n_stages, dimension)
        strides = per_stage_and_axis("strides", strides, n_stages, dimension)
        check_sizes(n_stages, num_classes, features_per_stage, kernel_sizes, strides)

        self.input_channels = input_channels
        self.ct_channels, self.pet_channels = assign_streams(input_channels, ct_channels, pet_channels)
        self.intensity = CompressSUV(input_channels, suv_channels, suv_scale) if suv_channels else None
        self.encoder = Encoder(
            input_channels=(len(self.ct_channels), len(self.pet_channels)),
            features_per_stage=features_per_stage,
            conv_op=conv_op,
            kernel_sizes=kernel_sizes,
            strides=strides,
            conv_bias=conv_bias,
            attention=lay_out_attention(strides, patch_size, interactions, window_size),
            token_norm=attention_token_norm,
            residual_mcsa=residual_mcsa,
            dropout=encoder_dropout,
            attention_dropout=attention_dropout,
        )
        self.decoder = Decoder(
            self.encoder,
            num_classes=num_classes,
            deep_supervision=deep_supervision,
            dropout=decoder_dropout,
            regions=regions,
            tamw=(GatedTAMW if gated_tamw else TAMW) if tamw else None,
        )

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        if x.shape[1] != self.input_channels:
            raise ValueError(
                f"The input has {x.shape[1]} channels, but this H2ASeg was built for {self.input_channels}: "
                f"CT from channels {self.ct_channels}, PET from channels {self.pet_channels}. Is an image missing?"
            )
        if self.intensity is not None:
            x = self.intensity(x)
        ct, pet = x[:, self.ct_channels], x[:, self.pet_channels]
        return self.decoder(self.encoder(ct=ct, pet=pet))

    @staticmethod
    def initialize(module: nn.Module) -> None:
        """Initialize one module; nnU-Net calls this through `network.apply`."""
        InitWeights_He(neg_slope=0.25)(module)
