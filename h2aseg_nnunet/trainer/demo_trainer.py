"""A schedule of a few minutes on a CPU, for the demo and for trying an installation."""

import torch

from h2aseg_nnunet.network.layout import PUBLISHED_MODULES
from h2aseg_nnunet.petct.nnunet.seeding import seed_all, seed_batches
from h2aseg_nnunet.trainer.h2aseg_trainer import nnUNetTrainerH2ASeg

DEMO_EPOCHS = 5


class nnUNetTrainerH2ASegDemo(nnUNetTrainerH2ASeg):
    """50 iterations in all, no mirroring at prediction time; a checkpoint after every epoch, to resume from.

    MCSA and TAMW have the paper's form, which has learned more of the phantoms after so few iterations.

    Weights and batches are seeded: whether so short a training has learned the task would otherwise be chance, and one
    that was killed and resumed ends as one that was not.
    """

    network_options = PUBLISHED_MODULES
    seed = 0
    num_epochs = DEMO_EPOCHS
    num_iterations_per_epoch = 10
    num_val_iterations_per_epoch = 1
    save_every = 1
    oversample_foreground_percent = 0.5  # few iterations: every batch shows a lesion

    # repeated because nnU-Net reads its arguments' names from the signature of the class that is made
    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008, nnU-Net's own default
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        seed_batches(self, self.seed)
        seed_all(self.seed)

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self):  # noqa: N802, nnU-Net's own name
        settings = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        self.inference_allowed_mirroring_axes = None  # eight times faster
        return settings
