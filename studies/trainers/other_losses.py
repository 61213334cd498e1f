"""H2ASeg with another Dice loss, another deep supervision, or a term for patches without lesions."""

import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from torch import Tensor, nn

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


class EmptyPatchTerm(nn.Module):
    """Adds s / (s + half) for every patch without lesions, of which s voxels are called tumor; mean over the batch.

    s is the sum of probabilities, so that the term is defined where Dice is not. It grows most with the first voxels
    that are marked. Labels must be classes, not regions; voxels of an ignore label count as lesions.

    Args:
        loss: nnU-Net's loss of one stage.
        half: s at which the term is 1/2.

    Shape:
        logits: (b, num_classes, *); target: (b, 1, *).
    """

    def __init__(self, loss: nn.Module, half: float = 50.0):
        super().__init__()
        self.loss = loss
        self.half = half

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        tumor = 1 - torch.softmax(logits.float(), dim=1)[:, 0]
        marked = tumor.flatten(1).sum(dim=1)
        empty = (target == 0).flatten(1).all(dim=1)
        return self.loss(logits, target) + (empty * marked / (marked + self.half)).mean()


class nnUNetTrainerH2ASeg_emptyPatches(nnUNetTrainerH2ASeg):
    """Patches without lesions have a term of their own, at every stage."""

    def _build_loss(self) -> nn.Module:
        loss = super()._build_loss()
        if not isinstance(loss, DeepSupervisionWrapper):
            return EmptyPatchTerm(loss)
        loss.loss = EmptyPatchTerm(loss.loss)
        return loss
