"""nnU-Net's own networks, trained as H2ASeg is: what of a lead is the network's and what the training's.

`nnUNet_extTrainer=studies/trainers nnUNetv2_train DATASET 3d_fullres 0 -tr nnUNetTrainerEqualTraining`
"""

from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn
from torch.optim import Optimizer

from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg
from h2aseg_nnunet.trainer.supervision import dice_of


class nnUNetTrainerEqualTraining(nnUNetTrainer):
    """The plan's own network with H2ASeg's optimiser, learning rate, weight decay and Dice of the whole batch.

    Deep supervision stays nnU-Net's, which leaves the deepest stage out.
    """

    def _build_loss(self) -> nn.Module:
        loss = super()._build_loss()
        dice_of(loss).batch_dice = nnUNetTrainerH2ASeg.batch_dice
        return loss

    def configure_optimizers(self) -> tuple[Optimizer, PolyLRScheduler]:
        self.initial_lr, self.weight_decay = nnUNetTrainerH2ASeg.initial_lr, nnUNetTrainerH2ASeg.weight_decay
        return nnUNetTrainerH2ASeg.configure_optimizers(self)
