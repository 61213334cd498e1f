"""nnU-Net trainers; nnU-Net finds every class listed here by name. docs/trainers.md says what each changes."""

from h2aseg_nnunet.trainer.ablations import (
    nnUNetTrainerH2ASeg_noMCSA,
    nnUNetTrainerH2ASeg_noMCSA_noTAMW,
    nnUNetTrainerH2ASeg_noTAMW,
)
from h2aseg_nnunet.trainer.demo_trainer import nnUNetTrainerH2ASegDemo
from h2aseg_nnunet.trainer.departures import (
    nnUNetTrainerH2ASeg_affine,
    nnUNetTrainerH2ASeg_globalOnly,
    nnUNetTrainerH2ASeg_LeakyReLU,
    nnUNetTrainerH2ASeg_noTokenNorm,
    nnUNetTrainerH2ASeg_positions,
    nnUNetTrainerH2ASeg_qkNorm,
    nnUNetTrainerH2ASeg_sampleDice,
    nnUNetTrainerH2ASeg_smoothDice,
    nnUNetTrainerH2ASeg_zeroTAMW,
)
from h2aseg_nnunet.trainer.h2aseg_trainer import nnUNetTrainerH2ASeg, nnUNetTrainerH2ASeg_L
from h2aseg_nnunet.trainer.misalignment import nnUNetTrainerH2ASeg_misalign
from h2aseg_nnunet.trainer.modality_dropout import nnUNetTrainerH2ASeg_modalitydropout
from h2aseg_nnunet.trainer.optimisation import (
    nnUNetTrainerH2ASeg_3en4,
    nnUNetTrainerH2ASeg_linearDS,
    nnUNetTrainerH2ASeg_SGD,
    nnUNetTrainerH2ASeg_stageDS,
)
from h2aseg_nnunet.trainer.release_trainer import nnUNetTrainerH2ASegRelease
from h2aseg_nnunet.trainer.schedules import (
    nnUNetTrainerH2ASeg_1epoch,
    nnUNetTrainerH2ASeg_5epochs,
    nnUNetTrainerH2ASeg_10epochs,
    nnUNetTrainerH2ASeg_20epochs,
    nnUNetTrainerH2ASeg_50epochs,
    nnUNetTrainerH2ASeg_100epochs,
    nnUNetTrainerH2ASeg_250epochs,
    nnUNetTrainerH2ASeg_500epochs,
)

__all__ = [
    "nnUNetTrainerH2ASeg",
    "nnUNetTrainerH2ASegDemo",
    "nnUNetTrainerH2ASegRelease",
    "nnUNetTrainerH2ASeg_1epoch",
    "nnUNetTrainerH2ASeg_3en4",
    "nnUNetTrainerH2ASeg_5epochs",
    "nnUNetTrainerH2ASeg_10epochs",
    "nnUNetTrainerH2ASeg_20epochs",
    "nnUNetTrainerH2ASeg_50epochs",
    "nnUNetTrainerH2ASeg_100epochs",
    "nnUNetTrainerH2ASeg_250epochs",
    "nnUNetTrainerH2ASeg_500epochs",
    "nnUNetTrainerH2ASeg_L",
    "nnUNetTrainerH2ASeg_LeakyReLU",
    "nnUNetTrainerH2ASeg_SGD",
    "nnUNetTrainerH2ASeg_affine",
    "nnUNetTrainerH2ASeg_globalOnly",
    "nnUNetTrainerH2ASeg_linearDS",
    "nnUNetTrainerH2ASeg_misalign",
    "nnUNetTrainerH2ASeg_modalitydropout",
    "nnUNetTrainerH2ASeg_noMCSA",
    "nnUNetTrainerH2ASeg_noMCSA_noTAMW",
    "nnUNetTrainerH2ASeg_noTAMW",
    "nnUNetTrainerH2ASeg_noTokenNorm",
    "nnUNetTrainerH2ASeg_positions",
    "nnUNetTrainerH2ASeg_qkNorm",
    "nnUNetTrainerH2ASeg_sampleDice",
    "nnUNetTrainerH2ASeg_smoothDice",
    "nnUNetTrainerH2ASeg_stageDS",
    "nnUNetTrainerH2ASeg_zeroTAMW",
]
