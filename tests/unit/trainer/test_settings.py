"""What a recipe sets on its class: nnU-Net's settings and options of the network."""

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from h2aseg_nnunet.trainer import (
    nnUNetTrainerH2ASeg,
    nnUNetTrainerH2ASeg_250epochs,
    nnUNetTrainerH2ASeg_noTAMW,
    nnUNetTrainerH2ASeg_noTokenNorm,
    nnUNetTrainerH2ASegRelease,
)
from h2aseg_nnunet.trainer.h2aseg_trainer import NNUNET_SETTINGS


def build(make_trainer, cls):
    torch.manual_seed(0)
    trainer = make_trainer(cls)
    trainer.initialize()
    return trainer


def test_every_setting_is_one_of_nnunets_constructor(make_trainer):
    assert set(NNUNET_SETTINGS) <= vars(make_trainer(nnUNetTrainer)).keys()


def test_what_a_class_sets_counts_and_the_rest_is_nnunets(make_trainer):
    class Own(nnUNetTrainerH2ASeg):
        initial_lr = 5e-4
        num_epochs = 7

    stock, own = make_trainer(nnUNetTrainer), make_trainer(Own)

    settings = {name: value for name, value in vars(stock).items() if isinstance(value, int | float | bool)}
    changed = {name: getattr(own, name) for name, value in settings.items() if getattr(own, name) != value}
    assert changed == {"initial_lr": 5e-4, "num_epochs": 7, "weight_decay": 1e-2}


def test_a_default_of_nnunets_class_is_no_choice_of_a_recipe(make_trainer, monkeypatch):
    """What nnU-Net's constructor sets, say from the user's environment, stays."""
    monkeypatch.setattr(nnUNetTrainer, "num_epochs", 3, raising=False)

    assert make_trainer(nnUNetTrainerH2ASeg).num_epochs == 1000


def test_other_attributes_of_nnunets_constructor_are_left_alone(make_trainer):
    class Careless(nnUNetTrainerH2ASeg):
        current_epoch = 12

    assert make_trainer(Careless).current_epoch == 0


def test_options_of_the_network_are_merged_and_the_nearest_class_counts_most(make_trainer):
    class Both(nnUNetTrainerH2ASeg_250epochs, nnUNetTrainerH2ASeg_noTAMW, nnUNetTrainerH2ASeg_noTokenNorm):
        network_options = {"attention_token_norm": True}  # noqa: RUF012

    trainer = build(make_trainer, Both)

    assert trainer.num_epochs == 250
    assert not trainer.network.decoder.has_tamw
    assert any("ct_norm" in name for name in trainer.network.state_dict())


def test_an_option_may_depend_on_the_number_of_stages(make_trainer):
    class DeepestOnly(nnUNetTrainerH2ASeg):
        network_options = {"interactions": lambda n_stages: ["none"] * (n_stages - 1) + ["global"]}  # noqa: RUF012

    interactions = [stage.interaction for stage in build(make_trainer, DeepestOnly).network.encoder.stages]

    assert interactions[:-1] == [None] * 3 and interactions[-1] is not None


def test_tokens_are_normalized_but_for_the_recipe_without_and_the_release(make_trainer):
    default = build(make_trainer, nnUNetTrainerH2ASeg).network.state_dict().keys()
    without = build(make_trainer, nnUNetTrainerH2ASeg_noTokenNorm).network.state_dict().keys()
    release = build(make_trainer, nnUNetTrainerH2ASegRelease).network.state_dict().keys()

    def of_norms(names):
        return {name for name in names if "ct_norm" in name or "pet_norm" in name}

    assert of_norms(default) == default - without != set()
    assert not of_norms(release)


def test_adamw_decays_polynomially(make_trainer):
    """After half of the epochs the rate is 1e-3 * 0.5**0.9."""
    trainer = build(make_trainer, nnUNetTrainerH2ASeg)
    trainer.lr_scheduler.step(trainer.num_epochs // 2)

    (group,) = trainer.optimizer.param_groups
    assert type(trainer.optimizer) is torch.optim.AdamW
    assert (group["lr"], group["weight_decay"]) == pytest.approx((1e-3 * 0.5**0.9, 1e-2))
