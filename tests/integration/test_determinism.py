"""Two runs with the same seed and without augmentation end with the same weights."""

import random

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoDA import nnUNetTrainerNoDA

from h2aseg_nnunet import nnUNetTrainerH2ASeg


class Unaugmented(nnUNetTrainerNoDA, nnUNetTrainerH2ASeg):
    """nnU-Net's trainer without augmentation, with H2ASeg: variants combine by inheritance."""

    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = 2
        self.num_iterations_per_epoch = 3
        self.num_val_iterations_per_epoch = 1
        self.disable_checkpointing = True


def train(workspace, dataset, seed: int) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses of both epochs and the final weights."""
    random.seed(seed)
    np.random.seed(seed)  # nnU-Net's data loader draws from it
    torch.manual_seed(seed)
    settings = (dataset.plans() | {"continue_training": False}, "3d_fullres", 0, dataset.description)
    with workspace.environment(nnUNet_n_proc_DA="0"):
        trainer = Unaugmented(*settings, device=torch.device("cpu"))
        trainer.run_training()
    return trainer.logger.get_value("train_losses", step=None), trainer.network.state_dict()


def test_the_same_seed_gives_the_same_weights_bit_for_bit_and_another_seed_others(workspace):
    dataset = workspace.dataset("classes")

    losses, weights = train(workspace, dataset, seed=0)
    same_losses, same_weights = train(workspace, dataset, seed=0)
    other_losses, other_weights = train(workspace, dataset, seed=1)

    assert losses == same_losses
    assert all(torch.equal(weights[name], same_weights[name]) for name in weights)
    assert losses != other_losses
    assert not any(torch.equal(weights[name], other_weights[name]) for name in weights if name.endswith("conv1.weight"))
