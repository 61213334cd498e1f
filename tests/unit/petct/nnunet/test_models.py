import math
from types import SimpleNamespace

import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.modalities import CT_NORMALIZATION
from h2aseg_nnunet.petct.nnunet.models import (
    choose_device,
    find_folds,
    load_predictor,
    modality_channels,
    trained_folds,
)


def channels_of(schemes, **arch_kwargs):
    configuration = SimpleNamespace(normalization_schemes=schemes, network_arch_init_kwargs=arch_kwargs)
    return modality_channels(SimpleNamespace(configuration_manager=configuration))


def test_channels_are_those_that_the_network_takes_for_ct_and_pet():
    assert channels_of(["NoNormalization"] * 2) == {"CT": [0], "PET": [1]}
    assert channels_of(["ZScore", CT_NORMALIZATION, "ZScore"]) == {"CT": [1], "PET": [0, 2]}
    assert channels_of(["ZScore"] * 3, ct_channels=[2, 1], pet_channels=[0, 1]) == {"CT": [2], "PET": [0]}


def test_a_model_without_two_modalities_is_refused():
    with pytest.raises(UserError, match="reads 1 image channel"):
        channels_of(["ZScore"])
    with pytest.raises(UserError, match=r"With 3 image channels, .* CT stream is empty"):
        channels_of(["ZScore"] * 3)
    with pytest.raises(UserError, match="share all"):
        channels_of(["ZScore"] * 2, ct_channels=[0, 1], pet_channels=[1])


@pytest.fixture
def model(tmp_path):
    """A model with two folds, a third without its checkpoint, and one of all cases."""
    for name in (
        "dataset.json",
        "plans.json",
        "fold_1/final.pth",
        "fold_0/final.pth",
        "fold_2/best.pth",
        "fold_all/final.pth",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_folds_that_have_the_checkpoint_are_found(model):
    assert trained_folds(model, "final.pth") == ["0", "1", "all"]
    assert find_folds(model, None, "final.pth") == ["0", "1"]
    assert find_folds(model, ["all", "1", "1"], "final.pth") == ["all", "1"]
    assert find_folds(model, None, "best.pth") == ["2"]


def test_the_fold_of_all_cases_stands_in_where_there_is_no_other(model):
    for fold in ("0", "1"):
        (model / f"fold_{fold}" / "final.pth").unlink()

    assert find_folds(model, None, "final.pth") == ["all"]


def test_a_fold_without_its_checkpoint_is_named_with_those_that_have_it(model):
    with pytest.raises(UserError, match=r"fold_2/final\.pth does not exist; folds with that file: 0, 1, all"):
        find_folds(model, ["2"], "final.pth")
    with pytest.raises(UserError, match=r"fold_\*/latest\.pth does not exist; folds with that file: none"):
        find_folds(model, None, "latest.pth")


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"dataset\.json and plans\.json missing\. Give the folder TRAINER__PLANS"):
        trained_folds(tmp_path, "final.pth")


def test_a_device_that_is_not_here_is_refused():
    assert choose_device("cpu") == torch.device("cpu")
    if not torch.backends.mps.is_available():
        with pytest.raises(UserError, match="torch sees no mps device here: choose -device cpu"):
            choose_device("mps")


@pytest.mark.parametrize("step_size", [0, 1.5, math.nan])
def test_a_step_that_leaves_gaps_is_refused_before_anything_is_loaded(model, step_size):
    with pytest.raises(UserError, match="windows must overlap or touch"):
        load_predictor(nnUNetPredictor, model, ["0"], "final.pth", step_size=step_size)
