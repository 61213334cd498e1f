"""Departures from the released network and from nnU-Net's loss, one at a time; docs/accuracy.md has their effects."""

from typing import Any

from torch import nn

from h2aseg_nnunet.network.tamw import ChannelGains
from h2aseg_nnunet.trainer.h2aseg_trainer import nnUNetTrainerH2ASeg
from h2aseg_nnunet.trainer.supervision import dice_of


class nnUNetTrainerH2ASeg_affine(nnUNetTrainerH2ASeg):
    """Norms have a learned scale and shift per channel, as in nnU-Net's own networks."""

    @classmethod
    def network_options(cls, n_stages: int) -> dict[str, Any]:
        return super().network_options(n_stages) | {"norm_affine": True}


class nnUNetTrainerH2ASeg_positions(nnUNetTrainerH2ASeg):
    """Attention knows where its tokens are."""

    @classmethod
    def network_options(cls, n_stages: int) -> dict[str, Any]:
        return super().network_options(n_stages) | {"attention_positions": True}


class nnUNetTrainerH2ASeg_qkNorm(nnUNetTrainerH2ASeg):
    """Attention normalises queries and keys."""

    @classmethod
    def network_options(cls, n_stages: int) -> dict[str, Any]:
        return super().network_options(n_stages) | {"attention_qk_norm": True}


class nnUNetTrainerH2ASeg_noTokenNorm(nnUNetTrainerH2ASeg):
    """Attention reads its tokens as they are, as in the release."""

    @classmethod
    def network_options(cls, n_stages: int) -> dict[str, Any]:
        return super().network_options(n_stages) | {"attention_token_norm": False}


class nnUNetTrainerH2ASeg_globalOnly(nnUNetTrainerH2ASeg):
    """The streams interact at the two deepest stages alone, where all positions read one another."""

    @classmethod
    def network_options(cls, n_stages: int) -> dict[str, Any]:
        interactions = ["none"] * (n_stages - 2) + ["global"] * 2
        return super().network_options(n_stages) | {"interactions": interactions}


class nnUNetTrainerH2ASeg_LeakyReLU(nnUNetTrainerH2ASeg):
    """Every slope stays at 0.01, nnU-Net's, instead of starting at 0.25 and being learned."""

    slope = 0.01

    @classmethod
    def adjust_network(cls, network: nn.Module) -> None:
        super().adjust_network(network)
        for module in network.modules():
            if isinstance(module, nn.PReLU):
                nn.init.constant_(module.weight.requires_grad_(False), cls.slope)


class nnUNetTrainerH2ASeg_zeroTAMW(nnUNetTrainerH2ASeg):
    """TAMW's gains start at zero: the decoder begins by concatenating features as they are."""

    @classmethod
    def adjust_network(cls, network: nn.Module) -> None:
        super().adjust_network(network)
        for module in network.modules():
            if isinstance(module, ChannelGains):
                nn.init.zeros_(module.fc2.weight)
                nn.init.zeros_(module.fc2.bias)


class nnUNetTrainerH2ASeg_sampleDice(nnUNetTrainerH2ASeg):
    """Dice loss of each sample by itself, as in most of nnU-Net's plans for full resolution."""

    batch_dice = False


class nnUNetTrainerH2ASeg_smoothDice(nnUNetTrainerH2ASeg):
    """Dice loss with a smooth term of 1 voxel instead of 1e-5: patches with few tumour voxels pull less."""

    smooth = 1.0

    def _build_loss(self) -> nn.Module:
        loss = super()._build_loss()
        dice_of(loss).smooth = self.smooth
        return loss
