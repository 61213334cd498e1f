"""A schedule of a few minutes on a CPU, for the demo and for trying an installation."""

from h2aseg_nnunet.trainer.h2aseg_trainer import nnUNetTrainerH2ASeg

DEMO_EPOCHS = 5


class nnUNetTrainerH2ASegDemo(nnUNetTrainerH2ASeg):
    """50 iterations in all, no mirroring at prediction time; a checkpoint after every epoch, to resume from."""

    num_epochs = DEMO_EPOCHS
    num_iterations_per_epoch = 10
    num_val_iterations_per_epoch = 1
    save_every = 1
    oversample_foreground_percent = 0.5  # few iterations: every batch shows a lesion

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self):  # noqa: N802, nnU-Net's own name
        settings = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        self.inference_allowed_mirroring_axes = None  # eight times faster
        return settings
