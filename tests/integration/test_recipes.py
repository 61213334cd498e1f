"""What holds for every recipe: a network rebuilt for prediction takes the weights that it trained."""

import numpy as np
import pytest
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from h2aseg_nnunet import trainer as recipes

SCHEDULES = ["nnUNetTrainerH2ASeg_100epochs", "nnUNetTrainerH2ASeg_250epochs"]
AUGMENTATIONS = ["nnUNetTrainerH2ASeg_misalign", "nnUNetTrainerH2ASeg_modalitydropout"]
OTHER_STEPS = [name for name in recipes.__all__ if name not in (*SCHEDULES, *AUGMENTATIONS)]


def test_every_recipe_that_is_defined_is_exported():
    def below(cls):
        return {cls} | {each for sub in cls.__subclasses__() for each in below(sub)}

    ours = {cls.__name__ for cls in below(recipes.nnUNetTrainerH2ASeg) if cls.__module__.startswith("h2aseg_nnunet.")}
    assert ours == set(recipes.__all__)


@pytest.mark.parametrize("name", [*SCHEDULES, *AUGMENTATIONS])
def test_a_checkpoint_loads_into_the_network_rebuilt_for_prediction(plans, make_trainer, tmp_path, name):
    plans["configurations"]["3d_fullres"]["patch_size"] = [16] * 3
    trainer = make_trainer(getattr(recipes, name))
    trainer.initialize()

    rebuilt = save_and_rebuild(trainer, tmp_path, "3d_fullres")

    assert_same_prediction(rebuilt, trainer, torch.randn(1, 2, 16, 16, 16))


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
@pytest.mark.parametrize("name", OTHER_STEPS)
def test_a_step_of_training_survives_checkpoint_and_rebuilding(
    plans, make_trainer, make_batch, tmp_path, name, configuration
):
    """Schedules and augmentation change no step on a batch that is given."""
    torch.manual_seed(0)
    dimension = 2 if configuration == "2d" else 3
    plans["configurations"][configuration]["patch_size"] = [16] * dimension
    trainer = make_trainer(getattr(recipes, name), configuration=configuration)
    trainer.initialize()

    loss = trainer.train_step(make_batch(trainer))["loss"]
    rebuilt = save_and_rebuild(trainer, tmp_path, configuration)

    assert np.isfinite(loss)
    assert_same_prediction(rebuilt, trainer, torch.randn(1, 2, *[16] * dimension))


def save_and_rebuild(trainer, folder, configuration):
    """As nnUNetv2_predict does, from what the checkpoint says."""
    trainer.save_checkpoint(str(folder / "checkpoint.pth"))
    checkpoint = torch.load(folder / "checkpoint.pth", weights_only=False)
    manager = PlansManager(checkpoint["init_args"]["plans"])
    rebuilt = getattr(recipes, checkpoint["trainer_name"]).build_network_architecture(
        manager, manager.get_configuration(configuration), 2, 2, enable_deep_supervision=False
    )
    rebuilt.load_state_dict(checkpoint["network_weights"])
    return rebuilt


@torch.no_grad()
def assert_same_prediction(rebuilt, trainer, image) -> None:
    torch.testing.assert_close(rebuilt.eval()(image), trainer.network.eval()(image)[0])
