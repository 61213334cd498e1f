"""nnU-Net trainers; nnU-Net finds every class listed here by name. docs/trainers.md says what each changes."""

from h2aseg_nnunet.trainer.ablations import (
    nnUNetTrainerH2ASeg_noMCSA,
    nnUNetTrainerH2ASeg_noMCSA_noTAMW,
    nnUNetTrainerH2ASeg_noTAMW,
    nnUNetTrainerH2ASeg_noTokenNorm,
)
from h2aseg_nnunet.trainer.augmentation import nnUNetTrainerH2ASeg_misalign, nnUNetTrainerH2ASeg_modalitydropout
from h2aseg_nnunet.trainer.demo_trainer import nnUNetTrainerH2ASegDemo
from h2aseg_nnunet.trainer.h2aseg_trainer import nnUNetTrainerH2ASeg, nnUNetTrainerH2ASeg_L
from h2aseg_nnunet.trainer.release_trainer import nnUNetTrainerH2ASegRelease
from h2aseg_nnunet.trainer.schedules import nnUNetTrainerH2ASeg_100epochs, nnUNetTrainerH2ASeg_250epochs

__all__ = [
    "nnUNetTrainerH2ASeg",
    "nnUNetTrainerH2ASegDemo",
    "nnUNetTrainerH2ASegRelease",
    "nnUNetTrainerH2ASeg_100epochs",
    "nnUNetTrainerH2ASeg_250epochs",
    "nnUNetTrainerH2ASeg_L",
    "nnUNetTrainerH2ASeg_misalign",
    "nnUNetTrainerH2ASeg_modalitydropout",
    "nnUNetTrainerH2ASeg_noMCSA",
    "nnUNetTrainerH2ASeg_noMCSA_noTAMW",
    "nnUNetTrainerH2ASeg_noTAMW",
    "nnUNetTrainerH2ASeg_noTokenNorm",
]
