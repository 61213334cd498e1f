"""What holds for every recipe: nnU-Net finds it, trains it, and rebuilds its network for prediction."""

import pickle

import numpy as np
import pytest
import torch
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from h2aseg_nnunet import register
from h2aseg_nnunet import trainer as recipes

SCHEDULES = [name for name in recipes.__all__ if "epoch" in name]
OTHERS = [name for name in recipes.__all__ if name not in SCHEDULES]


@pytest.mark.filterwarnings("default")  # packages that the search imports warn of their own matters
@pytest.mark.parametrize("name", recipes.__all__)
def test_nnunet_finds_the_very_class(name):
    register()

    found = recursive_find_trainer_class_by_name(name)

    assert found is getattr(recipes, name)
    assert pickle.loads(pickle.dumps(found)) is found


def test_every_recipe_that_is_defined_is_exported():
    def below(cls):
        return {cls} | {each for sub in cls.__subclasses__() for each in below(sub)}

    ours = {cls.__name__ for cls in below(recipes.nnUNetTrainerH2ASeg) if cls.__module__.startswith("h2aseg_nnunet.")}
    assert ours == set(recipes.__all__)


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
@pytest.mark.parametrize("name", [*OTHERS, SCHEDULES[0]])
def test_a_step_of_training_survives_checkpoint_and_rebuilding(
    plans, make_trainer, make_batch, tmp_path, name, configuration
):
    torch.manual_seed(0)
    dimension = 2 if configuration == "2d" else 3
    plans["configurations"][configuration]["patch_size"] = [16] * dimension
    recipe = getattr(recipes, name)
    trainer = make_trainer(recipe, configuration=configuration)
    trainer.initialize()

    loss = trainer.train_step(make_batch(trainer))["loss"]
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    checkpoint = torch.load(tmp_path / "checkpoint.pth", weights_only=False)
    manager = PlansManager(checkpoint["init_args"]["plans"])
    rebuilt = getattr(recipes, checkpoint["trainer_name"]).build_network_architecture(
        manager, manager.get_configuration(configuration), 2, 2, enable_deep_supervision=False
    )
    rebuilt.load_state_dict(checkpoint["network_weights"])

    assert np.isfinite(loss)
    image = torch.randn(1, 2, *[16] * dimension)
    with torch.no_grad():
        torch.testing.assert_close(rebuilt.eval()(image), trainer.network.eval()(image)[0])
