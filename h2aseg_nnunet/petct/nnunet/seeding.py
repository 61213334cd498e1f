"""The same batches for every trainer: batch k depends on the seed and on k alone.

Not on the number of workers, nor on which of them is faster, nor on where a killed run was continued. Where the patch
size is the same, two trainers see the same patches with the same augmentation.
"""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from h2aseg_nnunet.errors import UserError

TRAINING, VALIDATION = 0, 1


def seed_all(*entropy: int) -> None:
    """Seed Python's, NumPy's and torch's generators, differently for every combination of numbers."""
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    for function in (random.seed, np.random.seed, torch.manual_seed):
        function(seed)


class SeededBatches:
    """A loader of nnU-Net, seeded anew before each batch.

    Args:
        loader: Loader that draws a batch from the generators that `seed_all` seeds.
        entropy: Seed of the run, and a number that sets this loader apart from others.
        first: Number of the first batch.
        num_workers: Number of workers; worker w makes the batches first + w, first + w + num_workers, ...
    """

    def __init__(self, loader: Iterator, entropy: tuple[int, ...], first: int = 0, num_workers: int = 1):
        self.loader = loader
        self.entropy = entropy
        self.first = self.next = first
        self.num_workers = num_workers

    def set_thread_id(self, worker: int) -> None:
        """Let the batches of a worker begin with its own; batchgenerators calls it once in each worker."""
        torch.set_num_threads(1)  # as in nnU-Net's own workers
        self.next = self.first + worker

    def __iter__(self) -> "SeededBatches":
        return self

    def __next__(self) -> Any:
        seed_all(*self.entropy, self.next)
        self.next += self.num_workers
        return next(self.loader)


def seed_batches(trainer: nnUNetTrainer, seed: int) -> None:
    """Seed a trainer's loaders when it makes them; a second seed replaces the first.

    Raises:
        UserError: When the loaders are made, if they are not of nnU-Net's kinds.
    """

    def get_dataloaders() -> tuple[Any, Any]:
        training, validation = type(trainer).get_dataloaders(trainer)
        epoch = trainer.current_epoch  # not 0 where a killed run goes on
        return (
            seeded(training, (seed, TRAINING), epoch * trainer.num_iterations_per_epoch),
            seeded(validation, (seed, VALIDATION), epoch * trainer.num_val_iterations_per_epoch),
        )

    trainer.get_dataloaders = get_dataloaders


def seeded(augmenter: Any, entropy: tuple[int, ...], first: int) -> Any:
    """Return the same augmenter with batches that are seeded one by one and come in their order.

    Args:
        augmenter: nnU-Net's augmenter.
        entropy: Seed of the run, and a number that sets this loader apart from others.
        first: Number of the first batch.

    Raises:
        UserError: If it is not one of nnU-Net's augmenters.
    """
    if isinstance(augmenter, SingleThreadedAugmenter):
        return SingleThreadedAugmenter(SeededBatches(augmenter.data_loader, entropy, first), augmenter.transform)
    if isinstance(augmenter, NonDetMultiThreadedAugmenter):
        augmenter._finish()  # its workers have begun with batches of their own
        workers = augmenter.num_processes
        return MultiThreadedAugmenter(
            SeededBatches(augmenter.generator, entropy, first, workers),
            augmenter.transform,
            workers,
            seeds=list(range(workers)),  # for what runs before the first batch
            pin_memory=augmenter.pin_memory,
            wait_time=augmenter.wait_time,
        )
    raise UserError(f"Batches of {type(augmenter).__name__} cannot be seeded: it is not one of nnU-Net's augmenters.")
