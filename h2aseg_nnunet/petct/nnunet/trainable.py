"""What would make trainings fail after hours, found before the first one starts."""

import io
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Protocol

from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.files import read_json, read_own_json
from h2aseg_nnunet.petct.nnunet.folders import preprocessed_root
from h2aseg_nnunet.petct.nnunet.splits import Fold, case_names, make_splits, read_splits


class Training(Protocol):
    """One fold of one trainer; `model` is nnU-Net's folder of the model."""

    @property
    def dataset(self) -> str: ...

    @property
    def configuration(self) -> str: ...

    @property
    def trainer(self) -> str: ...

    @property
    def plans(self) -> str: ...

    @property
    def fold(self) -> int: ...

    @property
    def model(self) -> Path: ...


def check_runs(runs: Sequence[Training]) -> list[Fold]:
    """Make sure that everything the runs need is there, folds included; return nnU-Net's splits.

    Where nnU-Net has not split the cases yet, it is done here as nnU-Net does it: else runs that start at the same time
    would all write the file.

    Raises:
        UserError: If plans, preprocessed data, a trainer or a fold are missing.
    """
    dataset = preprocessed_root() / runs[0].dataset
    if not (dataset / "dataset.json").is_file():
        raise UserError(f"{dataset} holds no preprocessed dataset: run nnUNetv2_plan_and_preprocess first.")
    for run in {(run.trainer, run.plans): run for run in runs}.values():
        data = _check_plans(dataset, run)
        _check_trainer(run.trainer)
    file = dataset / "splits_final.json"
    if not file.is_file():
        make_splits(file, data)
    splits = read_splits(file, set(case_names(data)))
    beyond = [run.fold for run in runs if not 0 <= run.fold < len(splits)]
    if beyond:
        raise UserError(f"fold {beyond[0]} does not exist: splits_final.json in {dataset} has {len(splits)} folds.")
    return splits


def _check_trainer(name: str) -> None:
    """Find it as nnU-Net will; the search tells where it looks and imports modules that warn of their own matters."""
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            recursive_find_trainer_class_by_name(name)
    except RuntimeError as error:
        raise UserError(
            f"nnU-Net finds no trainer {name}: correct its name, or let nnUNet_extTrainer name the folder of your own "
            "trainers."
        ) from error


def _check_plans(dataset: Path, run: Training) -> Path:
    """Return the folder of the preprocessed data that a run needs."""
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
    used = read_own_json(run.model / "plans.json")  # nnU-Net's copy of what it trained with; None while it is written
    if used is not None and used != read_json(file):
        raise UserError(
            f"{run.model} was trained with other plans than {file} has now: choose another folder of results, or move "
            "it away."
        )
    return data
