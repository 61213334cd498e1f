"""What would make runs fail after hours, or make them incomparable, found before the first one starts."""

import io
import json
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from nnunetv2.utilities.crossval_split import generate_crossval_split
from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.compare.runs import Run
from h2aseg_nnunet.petct.files import replacing


def dataset_name(dataset: str) -> str:
    """Name of a dataset given by its number or name.

    Raises:
        RuntimeError: If nnU-Net knows none, or its folders are not set.
        UserError: If it is neither.
    """
    nnUNet_preprocessed.require()
    return str(maybe_convert_to_dataset_name(dataset))


def check_runs(runs: Sequence[Run]) -> list[dict[str, list[str]]]:
    """Make sure that everything the runs need is there, folds included; returns nnU-Net's splits.

    Where nnU-Net has not split the cases yet, it is done here as nnU-Net does it: else runs that start at the same time
    would all write the file.

    Raises:
        UserError: If plans, preprocessed data or a fold are missing, or the dataset has an ignore label.
        RuntimeError: If nnU-Net finds no trainer of a name.
    """
    dataset = Path(nnUNet_preprocessed, runs[0].dataset)
    if not (dataset / "dataset.json").is_file():
        raise UserError(f"{dataset} holds no preprocessed dataset: run nnUNetv2_plan_and_preprocess first.")
    if "ignore" in json.loads((dataset / "dataset.json").read_text())["labels"]:
        raise UserError(f"{runs[0].dataset} has an ignore label, which AutoPET's metrics do not know.")
    for run in {(run.trainer, run.plans): run for run in runs}.values():
        data = _check_plans(dataset, run)
        _check_trainer(run.trainer)
    splits = _splits(dataset / "splits_final.json", data)
    beyond = [run.fold for run in runs if not 0 <= run.fold < len(splits)]
    if beyond:
        raise UserError(f"fold {beyond[0]} does not exist: splits_final.json in {dataset} has {len(splits)} folds.")
    return splits


def _check_trainer(name: str) -> None:
    """Find it as nnU-Net will; the search tells where it looks and imports modules that warn of their own matters."""
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        recursive_find_trainer_class_by_name(name)


def _check_plans(dataset: Path, run: Run) -> Path:
    """Folder of the preprocessed data that a run needs."""
    file = dataset / f"{run.plans}.json"
    if not file.is_file():
        there = sorted(path.stem for path in dataset.glob("*.json") if "configurations" in path.read_text())
        raise UserError(f"{file} does not exist: plan first, or name one of {', '.join(there)}.")
    plans = PlansManager(str(file))
    if run.configuration not in plans.available_configurations:
        raise UserError(
            f"{file} has no configuration {run.configuration}, only {', '.join(plans.available_configurations)}."
        )
    data = dataset / plans.get_configuration(run.configuration).data_identifier
    if not data.is_dir():
        raise UserError(
            f"{data} does not exist: nnUNetv2_preprocess -d {run.dataset} -plans_name {run.plans} "
            f"-c {run.configuration} makes it."
        )
    used = run.model / "plans.json"  # nnU-Net's copy of what it trained with
    if used.is_file() and _differ(used, file):
        raise UserError(
            f"{run.model} was trained with other plans than {file} has now: choose another folder with -o, or move "
            "it away."
        )
    return data


def _differ(used: Path, present: Path) -> bool:
    try:
        return bool(json.loads(used.read_text()) != json.loads(present.read_text()))
    except json.JSONDecodeError:  # a run that has just started is writing its copy
        return False


def _splits(file: Path, data: Path) -> list[dict[str, list[str]]]:
    if not file.is_file():
        identifiers = np.sort(list(infer_dataset_class(str(data)).get_identifiers(str(data))))
        splits = generate_crossval_split(list(identifiers), seed=12345, n_splits=5)
        names = [{part: list(map(str, cases)) for part, cases in split.items()} for split in splits]
        with replacing(file) as temporary:
            temporary.write_text(json.dumps(names, indent=4))
    return json.loads(file.read_text())
