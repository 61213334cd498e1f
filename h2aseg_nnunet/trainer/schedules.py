"""Shorter schedules, named as nnU-Net names its own; the learning rate falls accordingly."""

from h2aseg_nnunet.trainer.h2aseg_trainer import nnUNetTrainerH2ASeg


class nnUNetTrainerH2ASeg_100epochs(nnUNetTrainerH2ASeg):
    num_epochs = 100


class nnUNetTrainerH2ASeg_250epochs(nnUNetTrainerH2ASeg):
    num_epochs = 250
