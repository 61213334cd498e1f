"""Another optimiser or learning rate, or another deep supervision."""

from typing import Any

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from h2aseg_nnunet.trainer.h2aseg_trainer import nnUNetTrainerH2ASeg
from h2aseg_nnunet.trainer.supervision import linear_weights


class nnUNetTrainerH2ASeg_SGD(nnUNetTrainerH2ASeg):
    """nnU-Net's optimiser: SGD with Nesterov momentum of 0.99."""

    initial_lr = 1e-2
    weight_decay = 3e-5

    def configure_optimizers(self) -> tuple[Any, Any]:
        return nnUNetTrainer.configure_optimizers(self)


class nnUNetTrainerH2ASeg_3en4(nnUNetTrainerH2ASeg):
    """A learning rate of 3e-4, named as nnU-Net names its own."""

    initial_lr = 3e-4


class nnUNetTrainerH2ASeg_linearDS(nnUNetTrainerH2ASeg):
    """Coarse stages count more: 5:4:3:2:1 as in the release instead of 16:8:4:2:1; the sum stays 1."""

    deep_supervision_weights = staticmethod(linear_weights)


class nnUNetTrainerH2ASeg_stageDS(nnUNetTrainerH2ASeg):
    """Every stage is compared at its own resolution, with the nearest voxels of the label, as nnU-Net does."""

    full_resolution_supervision = False
