import random

import numpy as np
import pytest
import torch
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter

from h2aseg_nnunet.petct.nnunet.seeding import SeededBatches, seed_all, seeded

BATCHES = 6


class Draws:
    """A loader that draws from each generator that nnU-Net's loaders and augmentation draw from."""

    def set_thread_id(self, thread_id):
        pass

    def __next__(self):
        return {"draws": (random.random(), float(np.random.uniform()), float(torch.rand(1)))}


def draws(augmenter, count: int = BATCHES) -> list[tuple]:
    taken = [next(augmenter)["draws"] for _ in range(count)]
    if hasattr(augmenter, "_finish"):
        augmenter._finish()
    return taken


def single(entropy=(0, 0), first=0):
    return seeded(SingleThreadedAugmenter(Draws(), None), entropy, first)


def test_batches_differ_by_number_seed_and_loader():
    of_seed_0, of_seed_1, of_validation = draws(single()), draws(single((1, 0))), draws(single((0, 1)))

    assert len({*of_seed_0, *of_seed_1, *of_validation}) == 3 * BATCHES
    assert draws(single()) == of_seed_0


@pytest.mark.filterwarnings("default")  # of forking a process with threads, which is how nnU-Net loads data
@pytest.mark.parametrize("workers", [1, 3])
def test_workers_make_the_batches_of_one_process_in_their_order(workers):
    started = NonDetMultiThreadedAugmenter(Draws(), None, workers)
    next(started)  # as nnU-Net hands it over

    assert draws(seeded(started, (0, 0), 0)) == draws(single())


def test_a_run_that_goes_on_sees_the_batches_it_would_have_seen():
    assert draws(single(first=4), 2) == draws(single())[4:]


def test_what_was_drawn_before_does_not_matter():
    batches = SeededBatches(Draws(), (0, 0))
    expected = draws(single())
    taken = []
    for _ in range(BATCHES):
        torch.rand(3)
        taken.append(next(batches)["draws"])

    assert taken == expected


def test_one_seed_for_all_generators():
    seed_all(3)
    first = (random.random(), np.random.uniform(), torch.rand(1).item())
    seed_all(3)

    assert first == (random.random(), np.random.uniform(), torch.rand(1).item())


def test_loaders_of_another_kind_are_refused():
    with pytest.raises(ValueError, match="cannot be seeded"):
        seeded(iter([]), (0, 0), 0)
