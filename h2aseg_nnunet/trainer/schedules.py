"""Shorter schedules, named as nnU-Net names its own."""

from h2aseg_nnunet.trainer.h2aseg_trainer import nnUNetTrainerH2ASeg


class nnUNetTrainerH2ASeg_1epoch(nnUNetTrainerH2ASeg):
    num_epochs = 1


class nnUNetTrainerH2ASeg_5epochs(nnUNetTrainerH2ASeg):
    num_epochs = 5


class nnUNetTrainerH2ASeg_10epochs(nnUNetTrainerH2ASeg):
    num_epochs = 10


class nnUNetTrainerH2ASeg_20epochs(nnUNetTrainerH2ASeg):
    num_epochs = 20


class nnUNetTrainerH2ASeg_50epochs(nnUNetTrainerH2ASeg):
    num_epochs = 50


class nnUNetTrainerH2ASeg_100epochs(nnUNetTrainerH2ASeg):
    num_epochs = 100


class nnUNetTrainerH2ASeg_250epochs(nnUNetTrainerH2ASeg):
    num_epochs = 250


class nnUNetTrainerH2ASeg_500epochs(nnUNetTrainerH2ASeg):
    num_epochs = 500
