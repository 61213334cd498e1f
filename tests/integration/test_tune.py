"""Rules on what nnU-Net itself writes: validation with --npz, and nnUNetv2_predict with --save_probabilities."""

import json
import shutil

import numpy as np
import pytest

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.postprocess.rules import Outline, Rule
from h2aseg_nnunet.petct.postprocess.rules_file import MADE_BY, identify
from h2aseg_nnunet.petct.postprocess.run import postprocess_folder
from h2aseg_nnunet.petct.tune import run
from tests.integration.nnunet_workspace import STOCK_SHORT
from tests.synthetic import read_array

HALF = Rule(Outline("probability", 0.5))


def write_rules(file, model, rule):
    identity = identify(model, ["0"], "checkpoint_final.pth")
    content = {"made_by": MADE_BY, "rule": rule.as_json(), "metric": "autopet", "model": identity}
    file.write_text(json.dumps(content))
    return file


@pytest.mark.parametrize("scheme", ["binary", "regions"])
def test_a_threshold_of_one_half_gives_nnunets_own_mask(workspace, tmp_path, scheme):
    dataset = workspace.trained(scheme)
    images = workspace.images(dataset, dataset.cases[:2], tmp_path / "images")
    workspace.predict(dataset, images, tmp_path / "predictions")
    rules = write_rules(tmp_path / "rules.json", dataset.model(), HALF)

    outcome = postprocess_folder(tmp_path / "predictions", tmp_path / "out", rules)

    assert list(outcome.cases) == dataset.cases[:2]
    for case in outcome.cases:
        masks = [read_array(tmp_path / folder / f"{case}.nii.gz") for folder in ("predictions", "out")]
        assert np.array_equal(*masks)


def test_predictions_of_another_model_of_equal_plans_are_refused_by_its_weights(workspace, tmp_path):
    ours, stock = workspace.trained("binary"), workspace.trained("binary", trainer=STOCK_SHORT)
    images = workspace.images(ours, ours.cases[:1], tmp_path / "images")
    workspace.predict(stock, images, tmp_path / "predictions", trainer=STOCK_SHORT)
    other = tmp_path / "stock" / ours.model().name
    shutil.copytree(stock.model(trainer=STOCK_SHORT), other)
    for folder in (tmp_path / "predictions", other):  # another test may have planned anew between the trainings
        shutil.copy(ours.model() / "plans.json", folder)
    rules = write_rules(tmp_path / "rules.json", ours.model(), HALF)

    with pytest.raises(UserError, match="other weights in fold 0"):
        postprocess_folder(tmp_path / "predictions", tmp_path / "out", rules, model=other)


@pytest.mark.parametrize("scheme", ["binary", "classes", "regions"])
def test_rules_are_fitted_to_a_validation_of_nnunet(workspace, monkeypatch, scheme):
    monkeypatch.setattr(run, "LEAST_PATIENTS", 2)
    for fold in (0, 1):
        dataset = workspace.trained(scheme, fold=fold)
    raw = {"references": dataset.raw / "labelsTr", "suv": dataset.raw / "imagesTr"}

    tuned = run.tune(dataset.model(), run.Settings(families=("volume", "probability"), folds=("0", "1"), **raw))

    assert (tuned.num_cases, tuned.metric) == (2, "autopet")
    assert tuned.model["name"] == f"{dataset.name}/{dataset.model().name}"
    assert {judged.name for judged in tuned.selection.families} == {"volume", "probability"}
