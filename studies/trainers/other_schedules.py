"""Other numbers of epochs, named as nnU-Net names its own; the learning rate falls accordingly."""

from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg


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


class nnUNetTrainerH2ASeg_500epochs(nnUNetTrainerH2ASeg):
    num_epochs = 500
