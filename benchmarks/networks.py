"""The networks that are compared, by name. All take CT and PET and predict two classes."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from torch import Tensor, nn

from h2aseg_nnunet.network import kernels
from h2aseg_nnunet.network.h2aseg import H2ASeg

PATCH = (128, 128, 64)
PUBLISHED = (8, 16, 32, 64, 128)
DEFAULT = (32, 64, 128, 256, 320, 320)
DEFAULT_NARROW = (16, 32, 64, 128, 256)


def plain(features: Sequence[int], deep_supervision: bool = False) -> nn.Module:
    """nnU-Net's default U-Net: two convolutions per stage."""
    stages = {"n_conv_per_stage": 2, "n_conv_per_stage_decoder": 2}
    return PlainConvUNet(**_stock(features), **stages, deep_supervision=deep_supervision)


def residual_encoder(features: Sequence[int], deep_supervision: bool = False) -> nn.Module:
    """nnU-Net's residual-encoder U-Net with the blocks of its M preset."""
    n_stages = len(features)
    stages = {"n_blocks_per_stage": (1, 3, 4, 6, 6, 6)[:n_stages], "n_conv_per_stage_decoder": (1,) * (n_stages - 1)}
    return ResidualEncoderUNet(**_stock(features), **stages, deep_supervision=deep_supervision)


def _stock(features: Sequence[int]) -> dict:
    return {
        "input_channels": 2,
        "n_stages": len(features),
        "features_per_stage": features,
        "conv_op": nn.Conv3d,
        "kernel_sizes": 3,
        "strides": [1] + [2] * (len(features) - 1),
        "num_classes": 2,
        "conv_bias": True,
        "norm_op": nn.InstanceNorm3d,
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
    }


def h2aseg(
    features: Sequence[int] = PUBLISHED,
    dropout: float = 0.0,
    deep_supervision: bool = False,
    patch_size: Sequence[int] = PATCH,
) -> nn.Module:
    return H2ASeg(
        input_channels=2,
        n_stages=len(features),
        features_per_stage=features,
        conv_op=nn.Conv3d,
        kernel_sizes=3,
        strides=2,
        num_classes=2,
        deep_supervision=deep_supervision,
        patch_size=patch_size,
        encoder_dropout=dropout,
        decoder_dropout=dropout,
        attention_dropout=dropout,
    )


class ByFormula(nn.Module):
    """A network that is computed by its plain formulas, without any kernel."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        with kernels.plain():
            return self.network(x)


def h2aseg_by_formula(**options: Any) -> nn.Module:
    return ByFormula(h2aseg(**options))


NETWORKS = {
    "H2ASeg, dropout 0.5": partial(h2aseg, dropout=0.5),
    "H2ASeg": h2aseg,
    "H2ASeg by formula, dropout 0.5": partial(h2aseg_by_formula, dropout=0.5),
    "H2ASeg by formula": h2aseg_by_formula,
    "plain-16": partial(plain, DEFAULT_NARROW),
    "plain-32": partial(plain, DEFAULT),
    "ResEnc M": partial(residual_encoder, DEFAULT),
}
"""Ready to be called; `deep_supervision=True` gives what is trained."""

REFERENCE = "plain-16"
"""Times are given as multiples of this one's."""
