"""Another optimiser, or other weights of deep supervision, in nnU-Net's recipe."""

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler

from h2aseg_nnunet.trainer.h2aseg_trainer import nnUNetTrainerH2ASeg
from h2aseg_nnunet.trainer.supervision import linear_weights


class nnUNetTrainerH2ASeg_AdamW(nnUNetTrainerH2ASeg):
    """AdamW in place of SGD; the learning rate falls as nnU-Net's does."""

    initial_lr = 1e-3
    weight_decay = 1e-2

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, PolyLRScheduler]:
        optimizer = torch.optim.AdamW(self.network.parameters(), self.initial_lr, weight_decay=self.weight_decay)
        return optimizer, PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs)


class nnUNetTrainerH2ASeg_AdamW3en4(nnUNetTrainerH2ASeg_AdamW):
    """AdamW at a learning rate of 3e-4, named as nnU-Net names its own."""

    initial_lr = 3e-4


class nnUNetTrainerH2ASeg_linearDS(nnUNetTrainerH2ASeg):
    """Coarse stages count more: 5:4:3:2:1 as in the release instead of 16:8:4:2:1; the sum stays 1."""

    deep_supervision_weights = staticmethod(linear_weights)
