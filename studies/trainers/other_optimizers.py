"""H2ASeg with another optimizer or learning rate."""

from typing import Any

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg


class nnUNetTrainerH2ASeg_SGD(nnUNetTrainerH2ASeg):
    """nnU-Net's optimizer: SGD with Nesterov momentum of 0.99."""

    initial_lr = 1e-2
    weight_decay = 3e-5

    def configure_optimizers(self) -> tuple[Any, Any]:
        return nnUNetTrainer.configure_optimizers(self)


class nnUNetTrainerH2ASeg_3en4(nnUNetTrainerH2ASeg):
    """A learning rate of 3e-4, named as nnU-Net names its own."""

    initial_lr = 3e-4
