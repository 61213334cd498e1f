"""Trainers as a user keeps them in a folder of nnUNet_extTrainer: two epochs of three iterations."""

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from h2aseg_nnunet import nnUNetTrainerH2ASeg


class _Short:
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.num_epochs = 2
        self.num_iterations_per_epoch = 3
        self.num_val_iterations_per_epoch = 1
        self.save_every = 1

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self):  # noqa: N802, nnU-Net's own name
        settings = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        self.inference_allowed_mirroring_axes = (0,)  # four times faster
        return settings


class nnUNetTrainerH2ASegShort(_Short, nnUNetTrainerH2ASeg):
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)


class nnUNetTrainerStockShort(_Short, nnUNetTrainer):
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)


class nnUNetTrainerH2ASegUntrained(nnUNetTrainerH2ASegShort):
    """Ends before its first epoch: the checkpoint holds what a training starts from."""

    def run_training(self):
        self.on_train_start()
        self.on_train_end()
