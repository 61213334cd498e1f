"""nnU-Net trainers; nnU-Net finds every class listed here by name."""

from h2aseg_nnunet.trainer.demo_trainer import nnUNetTrainerH2ASegDemo
from h2aseg_nnunet.trainer.h2aseg_trainer import nnUNetTrainerH2ASeg, nnUNetTrainerH2ASeg_L

__all__ = ["nnUNetTrainerH2ASeg", "nnUNetTrainerH2ASegDemo", "nnUNetTrainerH2ASeg_L"]
