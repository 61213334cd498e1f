"""H2ASeg: stacked channels -> CT and PET streams -> encoder -> decoder -> logits. Read this first."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from dynamic_network_architectures.building_blocks.helper import convert_conv_op_to_dim
from dynamic_network_architectures.initialization.weight_init import InitWeights_He
from torch import Tensor, nn

from h2aseg_nnunet.modalities import CT, PET
from h2aseg_nnunet.network.blocks import ConvOp
from h2aseg_nnunet.network.decoder import Decoder
from h2aseg_nnunet.network.encoder import Encoder, lay_out_attention
from h2aseg_nnunet.network.norm_affine import make_norms_affine
from h2aseg_nnunet.network.qk_norm import normalize_queries_and_keys
from h2aseg_nnunet.network.token_norm import normalize_tokens


class H2ASeg(nn.Module):
    """Hierarchical Adaptive Interaction and Weighting Network for tumour segmentation in PET/CT.

    The constructor takes the keys of nnU-Net's plans, as the networks of dynamic_network_architectures do, so that a
    plans file can name this class. What H2ASeg fixes by itself (number of convolutions, norm, non-linearity) is
    accepted under the stock U-Nets' keys and not used: blocks have two convolutions, instance norm (without affine,
    unless norm_affine) and PReLU. What would silently change the meaning of a plan (batch norm, dropout_op) is refused.

    Departures from the release; with its weights and published configuration the outputs are the same:
    - Any plan: 2D and 3D, any number of stages, anisotropic kernels and strides. Where the release hard-codes
      stages, `lay_out_attention` (encoder.py) gives the rules.
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
        interactions: "none", "mcsa" or "global" for each stage; by default chosen by `default_interactions`.
        window_size: Extents of MCSA's windows; by default chosen by `default_window_size`.
        ct_channels, pet_channels: Input channels of each stream; by default channel 0 is CT and all others are PET.
            A channel may feed both.
        regions: Whether logits stand for nnU-Net's regions instead of classes. Loading weights sets it too: SegLayers.
        tamw: Whether TAMW weighs features; without it the decoder concatenates them as they are (an ablation).
        attention_positions: Whether tokens carry where they are; see `encode_positions`. Published: no.
        attention_qk_norm: Whether attention normalises queries and keys; see `QKNorm`. Published: no.
        attention_token_norm: Whether attention normalises what it reads; see `normalize_tokens`. Published: no.
        norm_affine: Whether norms have a learned scale and shift per channel. Published: no.
        encoder_dropout, decoder_dropout, attention_dropout: 0 as in nnU-Net; the published network has 0.5 in all.

    Shape:
        x: (b, input_channels, *). Output: (b, num_classes, *), or with deep supervision a list of such logits, full
        resolution first, each at its stage's resolution, the deepest included.

    Raises:
        ValueError: If an argument does not fit; the message names it.

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
        interactions: Sequence[str] | None = None,
        window_size: Sequence[int] | None = None,
        ct_channels: Sequence[int] | None = None,
        pet_channels: Sequence[int] | None = None,
        regions: bool = False,
        tamw: bool = True,
        attention_positions: bool = False,
        attention_qk_norm: bool = False,
        attention_token_norm: bool = False,
        norm_affine: bool = False,
        encoder_dropout: float = 0.0,
        decoder_dropout: float = 0.0,
        attention_dropout: float = 0.0,
        n_conv_per_stage: int | Sequence[int] | None = None,
        n_blocks_per_stage: int | Sequence[int] | None = None,
        n_conv_per_stage_decoder: int | Sequence[int] | None = None,
        norm_op: type[nn.Module] | None = None,
        norm_op_kwargs: Mapping[str, Any] | None = None,
        dropout_op: type[nn.Module] | None = None,
        dropout_op_kwargs: Mapping[str, Any] | None = None,
        nonlin: type[nn.Module] | None = None,
        nonlin_kwargs: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        dimension = convert_conv_op_to_dim(conv_op)
        kernel_sizes = _per_stage_and_axis("kernel_sizes", kernel_sizes, n_stages, dimension)
        strides = _per_stage_and_axis("strides", strides, n_stages, dimension)
        if len(features_per_stage) != n_stages or min(features_per_stage) < 4:
            raise ValueError(
                f"features_per_stage={list(features_per_stage)}: expected {n_stages} numbers (n_stages), "
                "each at least 4, because attention and TAMW work with a quarter of them."
            )
        if n_stages < 2 or num_classes < 1:
            raise ValueError(f"n_stages={n_stages} must be at least 2 and num_classes={num_classes} at least 1.")
        if any(k % 2 == 0 for kernel in kernel_sizes for k in kernel):
            raise ValueError(f"kernel_sizes={kernel_sizes}: even extents would shift the feature maps.")
        if any(s != 1 for s in strides[0]):
            raise ValueError(f"strides[0]={strides[0]}: the first stage must keep full resolution (stride 1).")
        _refuse_other_layers(norm_op, dropout_op)

        self.input_channels = input_channels
        self.ct_channels, self.pet_channels = _streams(input_channels, ct_channels, pet_channels)
        self.encoder = Encoder(
            (len(self.ct_channels), len(self.pet_channels)),
            features_per_stage,
            conv_op,
            kernel_sizes,
            strides,
            conv_bias,
            lay_out_attention(strides, patch_size, interactions, window_size, attention_positions),
            encoder_dropout,
            attention_dropout,
        )
        self.decoder = Decoder(self.encoder, num_classes, deep_supervision, decoder_dropout, regions, tamw)
        if attention_qk_norm:
            normalize_queries_and_keys(self)
        if attention_token_norm:
            normalize_tokens(self)
        if norm_affine:
            make_norms_affine(self)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        if x.shape[1] != self.input_channels:
            raise ValueError(
                f"The input has {x.shape[1]} channels, but this H2ASeg was built for {self.input_channels}: "
                f"CT from channels {self.ct_channels}, PET from channels {self.pet_channels}. "
                "Check that every case has all its files (_0000 for CT, _0001 for PET)."
            )
        ct, pet = x[:, self.ct_channels], x[:, self.pet_channels]
        return self.decoder(self.encoder(ct=ct, pet=pet))

    @staticmethod
    def initialize(module: nn.Module) -> None:
        """Initialise one module; nnU-Net calls this through `network.apply`."""
        InitWeights_He(neg_slope=0.25)(module)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False):
        """Load weights as torch does, but say in one sentence what is wrong with those of another network.

        Raises:
            ValueError: If strict and keys or shapes differ.
        """
        if strict:
            _compare(expected=self.state_dict(), given=state_dict)
        return super().load_state_dict(state_dict, strict=strict, assign=assign)


def _per_stage_and_axis(name: str, value: Any, n_stages: int, dimension: int) -> list[list[int]]:
    """One number, one number per stage, or one per stage and axis -> one per stage and axis."""
    if isinstance(value, int):
        value = [1 if name == "strides" else value] + [value] * (n_stages - 1)
    value = [[v] * dimension if isinstance(v, int) else list(v) for v in value]
    if len(value) != n_stages or any(len(v) != dimension for v in value):
        raise ValueError(f"{name}={value}: expected {n_stages} stages (n_stages) of {dimension} extents each.")
    return value


def _refuse_other_layers(norm_op: type[nn.Module] | None, dropout_op: type[nn.Module] | None) -> None:
    if norm_op is not None and not issubclass(norm_op, nn.modules.instancenorm._InstanceNorm):
        raise ValueError(f"norm_op={norm_op.__name__}: H2ASeg normalises by instance norm only.")
    if dropout_op is not None:
        raise ValueError(
            f"dropout_op={dropout_op.__name__}: H2ASeg's dropout is set by encoder_dropout, decoder_dropout and "
            "attention_dropout; set dropout_op to null in the plans."
        )


def _streams(
    input_channels: int, ct_channels: Sequence[int] | None, pet_channels: Sequence[int] | None
) -> tuple[list[int], list[int]]:
    if ct_channels is None and pet_channels is None:
        ct_channels, pet_channels = [CT], range(PET, input_channels)
    if not ct_channels or not pet_channels or set(ct_channels) | set(pet_channels) != set(range(input_channels)):
        raise ValueError(
            f"input_channels={input_channels}, ct_channels={ct_channels}, pet_channels={pet_channels}: H2ASeg needs "
            "CT and PET, at least one channel each, and every channel must feed a stream. Give both lists or none."
        )
    return list(ct_channels), list(pet_channels)


def _compare(expected: Mapping[str, Tensor], given: Mapping[str, Any]) -> None:
    missing = sorted(expected.keys() - given.keys())
    unexpected = sorted(given.keys() - expected.keys())
    shapes = [
        f"{key} {tuple(torch.as_tensor(given[key]).shape)} instead of {tuple(value.shape)}"
        for key, value in expected.items()
        if key in given and torch.as_tensor(given[key]).shape != value.shape
    ]
    if missing or unexpected or shapes:
        problems = [
            f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for kind, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
            if names
        ]
        raise ValueError(
            f"These weights are not of this H2ASeg: of {len(expected)} tensors, {'; '.join(problems)}. Was the "
            "checkpoint trained by another trainer (-tr), another width (nnUNetTrainerH2ASeg_L), on other plans or "
            "by an earlier version?"
        )
