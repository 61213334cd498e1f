"""Runs in a folder, and the files that finished ones leave there."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from h2aseg_nnunet.petct.compare.heldout import HeldOut
from h2aseg_nnunet.petct.compare.training_runs import Run, make_runs, write_record
from h2aseg_nnunet.petct.evaluate import table
from h2aseg_nnunet.petct.evaluate.run import Evaluation

DATASET = "Dataset901_binary"
SHARED = {
    "dataset": DATASET,
    "configuration": "3d_fullres",
    "epochs": 2,
    "iterations": 3,
    "val_iterations": 1,
    "device": "cpu",
    "processes": 1,
}
COSTS = {
    "parameters": 1000,
    "seconds_per_iteration": 0.5,
    "peak_memory_bytes": 2**30,
    "patch_size": [8, 8, 8],
    "batch_size": 2,
}
SURROUNDINGS = {"device": "cpu of test", "threads": 1, "compiled": False, "versions": {}}


@pytest.fixture
def runs(tmp_path) -> Callable[..., list[Run]]:
    """`runs(trainers, folds, seeds)`, in one folder."""

    def make(trainers=("A", "B"), folds=(0, 1), seeds=(0,), **changes) -> list[Run]:
        shared = {"folder": str(tmp_path / "out"), **SHARED, **changes}
        return make_runs(trainers, "nnUNetPlans", folds, seeds, **shared)

    return make


@pytest.fixture
def heldout(tmp_path) -> HeldOut:
    return make_heldout(tmp_path / "Dataset1_here")


def make_heldout(dataset: Path, **settings: bool) -> HeldOut:
    """Test images and labels of a dataset: two channels of one case."""
    images, references = dataset / "imagesTs", dataset / "labelsTs"
    for file in (images / "a_0000.nii.gz", images / "a_0001.nii.gz", references / "a.nii.gz"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return HeldOut(str(images), str(references), **settings)


def finish(run: Run, dice: Mapping[str, float], costs: dict | None = None, **volumes_ml: float) -> None:
    """What a finished run leaves behind; every case has the same volumes."""
    volumes = {"false_positive_volume_ml": 1.0, "false_negative_volume_ml": 2.0} | volumes_ml
    write_record(run, {"schedule": run.schedule, "costs": COSTS | (costs or {}), "surroundings": SURROUNDINGS})
    table.write_json(Evaluation({case: {"dice": value} | volumes for case, value in dice.items()}, {}), run.evaluation)


def write_preprocessed(folder, plans: dict, splits: object = None) -> None:
    """A preprocessed dataset as far as it is looked at before runs start."""
    dataset = folder / DATASET
    data = dataset / plans["configurations"]["3d_fullres"]["data_identifier"]
    data.mkdir(parents=True)
    for index in range(10):
        (data / f"case_{index}.b2nd").touch()
    (dataset / "nnUNetPlans.json").write_text(json.dumps(plans))
    (dataset / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "tumor": 1}}))
    if splits is not None:
        (dataset / "splits_final.json").write_text(json.dumps(splits))
