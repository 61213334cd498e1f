"""What a run's own files say about a model: data, training and validation."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.files import read_json
from h2aseg_nnunet.petct.nnunet.folders import preprocessed_splits
from h2aseg_nnunet.petct.statistics import summarize

SUMMARY = Path("validation", "summary.json")
"""nnU-Net's metrics of a fold's validation cases, in the fold's folder."""

METRICS = ("Dice", "IoU")


class Names(NamedTuple):
    """Names by which nnU-Net finds a model.

    Attributes:
        dataset: DatasetXXX_Name.
        trainer: Class of the trainer.
        plans: Name of the plans.
        configuration: 2d, 3d_fullres, ...
    """

    dataset: str
    trainer: str
    plans: str
    configuration: str

    @property
    def folder(self) -> Path:
        """The model's folder below nnUNet_results."""
        return Path(self.dataset, f"{self.trainer}__{self.plans}__{self.configuration}")


class Training(NamedTuple):
    """How the folds were trained, as far as files tell.

    Attributes:
        epochs: Number of epochs of each fold, without those of which nobody knows.
        hardware: Devices.
        torch: Versions of torch.
        networks: Classes of the network.
    """

    epochs: list[int]
    hardware: list[str]
    torch: list[str]
    networks: list[str]


def read_checkpoint(file: Path) -> dict[str, Any]:
    """Read what a checkpoint says beside its weights.

    Raises:
        UserError: If it is none of nnU-Net's.
    """
    try:
        content = torch.load(file, map_location="cpu", weights_only=False, mmap=True)
    except Exception as error:  # of zip files, pickles and torch
        raise UserError(f"{file} cannot be read: {error}") from error
    if not isinstance(content, dict) or not {"trainer_name", "init_args", "network_weights"} <= content.keys():
        raise UserError(f"{file} is not a checkpoint of nnU-Net.")
    return {name: content.get(name) for name in ("trainer_name", "init_args", "current_epoch")}


def names_of(plans: Mapping[str, Any], checkpoint: Mapping[str, Any]) -> Names:
    """Return the names by which nnU-Net finds the model, wherever its folder lies now."""
    configuration = checkpoint["init_args"]["configuration"]
    return Names(plans["dataset_name"], checkpoint["trainer_name"], plans["plans_name"], configuration)


def training_of(model: Path, folds: Sequence[str], checkpoints: Sequence[Mapping[str, Any]]) -> Training:
    """Read how the folds were trained; names of hosts and paths stay where they are."""
    found = [_read(model / f"fold_{fold}" / "debug.json") for fold in folds]
    hardware = [each.get("gpu_name") or {"cpu": "CPU"}.get(each.get("device", "")) for each in found]
    return Training(
        [int(each["current_epoch"]) for each in checkpoints if each["current_epoch"]],
        sorted({name for name in hardware if name}),
        sorted({each["torch_version"] for each in found if "torch_version" in each}),
        sorted({each["network"] for each in found if "network" in each}),
    )


def clean_summary(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return nnU-Net's summary with names of files in place of paths, which tell of machines and people."""
    cases = [
        {**case, **{key: Path(case[key]).name for key in ("prediction_file", "reference_file") if key in case}}
        for case in content["metric_per_case"]
    ]
    return {**content, "metric_per_case": cases}


def read_summaries(model: Path, folds: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read the summaries of the folds that have one, without paths."""
    files = {fold: model / f"fold_{fold}" / SUMMARY for fold in folds}
    return {fold: clean_summary(read_json(file)) for fold, file in files.items() if file.is_file()}


def validation(summaries: Mapping[str, Mapping[str, Any]], labels: Mapping[str, Any]) -> dict[str, Any]:
    """Summarize the validation cases of all folds together.

    Args:
        summaries: nnU-Net's summary by fold.
        labels: Labels as dataset.json declares them.

    Returns:
        `num_cases`, and for each label's name its metrics, as `summarize` gives them.
    """
    cases = [case["metrics"] for summary in summaries.values() for case in summary["metric_per_case"]]
    names = {_key(value): name for name, value in labels.items()}
    figures: dict[str, Any] = {"num_cases": len(cases), "labels": {}}
    for key in cases[0] if cases else ():
        values = {metric: [_number(case[key][metric]) for case in cases] for metric in METRICS}
        figures["labels"][names.get(key, key)] = {metric: summarize(each) for metric, each in values.items()}
    return figures


def splits_of(model: Path, dataset: str) -> Path | None:
    """Return the file of the folds: beside the model, or where training looks for it; None if it is in neither."""
    places = [model / "splits_final.json", preprocessed_splits(dataset)]
    return next((file for file in places if file is not None and file.is_file()), None)


def _key(value: Any) -> str:
    """A label or region as nnU-Net's summaries call it."""
    return str(tuple(value)) if isinstance(value, list) else str(value)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _read(file: Path) -> dict[str, str]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
