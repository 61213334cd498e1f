import importlib.util

import pytest
import torch
from torch import nn

from tests.locations import REPOSITORY

FILE = REPOSITORY / "studies" / "trainers" / "other_losses.py"


@pytest.fixture(scope="module")
def losses():
    """The file without its package, as nnU-Net loads what lies in nnUNet_extTrainer."""
    spec = importlib.util.spec_from_file_location("other_losses", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Nothing(nn.Module):
    def forward(self, logits, target):
        return torch.zeros(())


def batch(*targets):
    """Patches of 100 voxels in which every voxel is tumor with probability 0.5: s is 50."""
    target = torch.zeros(len(targets), 1, 4, 5, 5)
    for patch, is_ill in zip(target, targets, strict=True):
        patch[0, 0, 0, 0] = is_ill
    return torch.zeros(len(targets), 2, 4, 5, 5), target


def test_an_empty_patch_in_which_50_voxels_are_marked_costs_one_half(losses):
    term = losses.EmptyPatchTerm(Nothing())

    assert float(term(*batch(False))) == pytest.approx(50 / 100)
    assert float(term(*batch(False, True))) == pytest.approx(0.25)
    assert float(term(*batch(True))) == 0


def test_three_classes_are_tumor_alike(losses):
    """Softmax of equal logits gives tumor 2/3 in 100 voxels: 66.7 / 116.7."""
    _, target = batch(False)

    assert float(losses.EmptyPatchTerm(Nothing())(torch.zeros(1, 3, 4, 5, 5), target)) == pytest.approx(4 / 7)


def test_marking_less_costs_less(losses):
    logits, target = batch(False)
    logits.requires_grad_()

    losses.EmptyPatchTerm(Nothing())(logits, target).backward()

    assert (logits.grad[:, 1] > 0).all() and (logits.grad[:, 0] < 0).all()


def test_every_stage_of_the_recipe_has_the_term(losses, make_trainer):
    trainer = make_trainer(losses.nnUNetTrainerH2ASeg_emptyPatches)
    trainer.initialize()
    plain = make_trainer()
    plain.initialize()
    logits, target = batch(False)
    stages = len(trainer.loss.weight_factors)

    with_term = trainer.loss([logits] * stages, [target] * stages)
    without = plain.loss([logits] * stages, [target] * stages)

    assert float(with_term - without) == pytest.approx(0.5 * sum(trainer.loss.weight_factors), abs=1e-6)
