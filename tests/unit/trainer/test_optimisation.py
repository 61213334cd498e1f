import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from h2aseg_nnunet import trainer as recipes
from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg, nnUNetTrainerH2ASeg_3en4, nnUNetTrainerH2ASeg_SGD


@pytest.mark.parametrize(("recipe", "lr"), [(nnUNetTrainerH2ASeg, 1e-3), (nnUNetTrainerH2ASeg_3en4, 3e-4)])
def test_adamw_decays_polynomially(make_trainer, recipe, lr):
    """After half of the epochs the rate is lr * 0.5**0.9."""
    trainer = make_trainer(recipe)
    trainer.initialize()
    trainer.lr_scheduler.step(trainer.num_epochs // 2)

    (group,) = trainer.optimizer.param_groups
    assert type(trainer.optimizer) is torch.optim.AdamW
    assert (group["lr"], group["weight_decay"]) == pytest.approx((lr * 0.5**0.9, 1e-2))


def test_sgd_is_nnunets_own(make_trainer):
    ours, stock = make_trainer(nnUNetTrainerH2ASeg_SGD), make_trainer(nnUNetTrainer)
    ours.initialize()
    stock.initialize()

    def settings(trainer):
        (group,) = trainer.optimizer.param_groups
        return type(trainer.optimizer), {name: value for name, value in group.items() if name != "params"}

    assert settings(ours) == settings(stock)
    assert type(ours.lr_scheduler) is type(stock.lr_scheduler)


@pytest.mark.parametrize("epochs", [1, 5, 10, 20, 50, 100, 250, 500])
def test_a_schedule_is_as_long_as_its_name_says(make_trainer, epochs):
    name = f"nnUNetTrainerH2ASeg_{epochs}epoch{'s' if epochs > 1 else ''}"

    assert make_trainer(getattr(recipes, name)).num_epochs == epochs


def test_what_a_class_sets_counts_and_the_rest_is_nnunets(make_trainer):
    class Own(nnUNetTrainerH2ASeg_SGD):
        initial_lr = 5e-4
        num_epochs = 7

    stock, own = make_trainer(nnUNetTrainerH2ASeg), make_trainer(Own)

    settings = {name: value for name, value in vars(stock).items() if isinstance(value, int | float | bool)}
    changed = {name: getattr(own, name) for name, value in settings.items() if getattr(own, name) != value}
    assert changed == {"initial_lr": 5e-4, "num_epochs": 7, "weight_decay": 3e-5}


def test_recipes_combine(make_trainer):
    class Both(recipes.nnUNetTrainerH2ASeg_20epochs, recipes.nnUNetTrainerH2ASeg_noTAMW, nnUNetTrainerH2ASeg_SGD):
        pass

    trainer = make_trainer(Both)
    trainer.initialize()

    assert (trainer.num_epochs, trainer.initial_lr) == (20, 1e-2)
    assert not trainer.network.decoder.has_tamw
    assert type(trainer.optimizer) is torch.optim.SGD
