"""H2ASeg with another Dice loss or another deep supervision."""

from torch import nn

from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg
from h2aseg_nnunet.trainer.supervision import dice_of, release_weights


def linear_weights(n_stages: int) -> tuple[float, ...]:
    """Loss weights in the ratio n : n-1 : ... : 1 from fine to coarse, normalized to sum 1."""
    weights = release_weights(n_stages)
    return tuple(weight / sum(weights) for weight in weights)


class nnUNetTrainerH2ASeg_linearDS(nnUNetTrainerH2ASeg):
    """Coarse stages count more: 5:4:3:2:1 as in the release instead of 16:8:4:2:1; the sum stays 1."""

    deep_supervision_weights = staticmethod(linear_weights)


class nnUNetTrainerH2ASeg_stageDS(nnUNetTrainerH2ASeg):
    """Every stage is compared at its own resolution, with the nearest voxels of the label, as nnU-Net does."""

    full_resolution_supervision = False


class nnUNetTrainerH2ASeg_sampleDice(nnUNetTrainerH2ASeg):
    """Dice loss of each sample by itself, as in most of nnU-Net's plans for full resolution."""

    batch_dice = False


class nnUNetTrainerH2ASeg_smoothDice(nnUNetTrainerH2ASeg):
    """Dice loss with a smooth term of 1 voxel instead of 1e-5: patches with few tumor voxels pull less."""

    smooth = 1.0

    def _build_loss(self) -> nn.Module:
        loss = super()._build_loss()
        dice_of(loss).smooth = self.smooth
        return loss
