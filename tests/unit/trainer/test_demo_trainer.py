import random

import pytest
import torch
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from h2aseg_nnunet.petct.nnunet.seeding import seed_batches
from h2aseg_nnunet.trainer import nnUNetTrainerH2ASegDemo


class Draws:
    def __next__(self):
        return {"drawn": random.random()}


@pytest.fixture
def with_draws(monkeypatch):
    """nnU-Net's trainers with a loader that draws a number; get_dataloaders needs no preprocessed images then."""
    monkeypatch.setattr(
        nnUNetTrainer, "get_dataloaders", lambda self: [SingleThreadedAugmenter(Draws(), None) for _ in range(2)]
    )


def test_every_training_starts_with_the_same_weights_and_sees_the_same_batches(make_trainer, with_draws):
    weights, batches = [], []
    for _ in range(2):
        torch.rand(1), random.random()  # what happened before does not matter
        trainer = make_trainer(nnUNetTrainerH2ASegDemo)
        trainer.initialize()
        weights.append(torch.cat([parameter.flatten() for parameter in trainer.network.parameters()]))
        batches.append([next(trainer.get_dataloaders()[0])["drawn"], next(trainer.get_dataloaders()[1])["drawn"]])

    assert torch.equal(*weights)
    assert batches[0] == batches[1]
    assert batches[0][0] != batches[0][1]


def test_a_comparison_sets_another_seed(make_trainer, with_draws):
    trainer = make_trainer(nnUNetTrainerH2ASegDemo)
    own = next(trainer.get_dataloaders()[0])["drawn"]

    seed_batches(trainer, trainer.seed + 1)
    assert next(trainer.get_dataloaders()[0])["drawn"] != own
    seed_batches(trainer, trainer.seed)
    assert next(trainer.get_dataloaders()[0])["drawn"] == own
