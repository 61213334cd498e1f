"""Recipes that were tried and are not part of the package, as nnU-Net finds them: by `nnUNet_extTrainer`."""

import numpy as np
import pytest
import torch
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

from h2aseg_nnunet._register import VARIABLE
from h2aseg_nnunet.network.attention import GlobalAttention
from h2aseg_nnunet.network.mcsa import MCSA
from h2aseg_nnunet.network.tamw import TAMW
from h2aseg_nnunet.trainer.supervision import dice_of
from tests.locations import REPOSITORY

NAMES = (
    *("SGD", "3en4", "linearDS", "stageDS", "sampleDice", "smoothDice", "emptyPatches"),
    *("globalOnly", "LeakyReLU", "publishedModules", "qkNorm"),
    *("1epoch", "5epochs", "10epochs", "20epochs", "50epochs", "500epochs"),
)

# nnU-Net's search imports all of its trainers and their dependencies, whose warnings are not ours
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def find(monkeypatch):
    monkeypatch.setenv(VARIABLE, str(REPOSITORY / "studies" / "trainers"))
    return lambda name: recursive_find_trainer_class_by_name(f"nnUNetTrainerH2ASeg_{name}")


@pytest.fixture
def build(find, plans, make_trainer):
    plans["configurations"]["3d_fullres"]["patch_size"] = [16] * 3

    def make(name):
        torch.manual_seed(0)
        trainer = make_trainer(find(name))
        trainer.initialize()
        return trainer

    return make


@pytest.mark.parametrize("name", [name for name in NAMES if "epoch" not in name])
def test_a_recipe_trains(build, make_batch, name):
    trainer = build(name)

    assert np.isfinite(trainer.train_step(make_batch(trainer))["loss"])


def test_schedules_are_as_long_as_their_names_say(find):
    assert [find(name).num_epochs for name in NAMES if "epoch" in name] == [1, 5, 10, 20, 50, 500]


def test_slopes_are_nnunets_and_stay(build, make_batch):
    trainer = build("LeakyReLU")

    trainer.train_step(make_batch(trainer))

    slopes = [each.weight for each in trainer.network.modules() if isinstance(each, torch.nn.PReLU)]
    assert all(slope.item() == pytest.approx(0.01) for slope in slopes)


def test_the_release_form_of_the_modules_is_that_of_the_network_class(build):
    network = build("publishedModules").network

    assert {type(stage.tamw) for stage in network.decoder.stages} == {TAMW}
    assert not any(module.residual for module in network.modules() if isinstance(module, MCSA))


def test_only_two_stages_interact_globally(build):
    interactions = [stage.interaction for stage in build("globalOnly").network.encoder.stages]

    assert interactions[:2] == [None, None]
    assert all(isinstance(interaction, GlobalAttention) for interaction in interactions[2:])


def test_losses(build):
    assert dice_of(build("smoothDice").loss).smooth == 1
    assert dice_of(build("sampleDice").loss).batch_dice is False
    assert build("linearDS").loss.weight_factors == pytest.approx((0.4, 0.3, 0.2, 0.1))
    assert not build("stageDS").full_resolution_supervision


def test_optimizers(build):
    sgd, slower = build("SGD"), build("3en4")

    (group,) = sgd.optimizer.param_groups
    assert type(sgd.optimizer) is torch.optim.SGD
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (1e-2, 0.99, 3e-5)
    assert slower.optimizer.param_groups[0]["lr"] == 3e-4
