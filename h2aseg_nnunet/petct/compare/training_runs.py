"""One run: a trainer with its plans trains on one fold from one seed, and predicts the fold's validation cases."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.files import OutputFolder, write_json


class Run(NamedTuple):
    """Everything that decides about a run, and where it lies.

    `folder/seed_S` is an nnUNet_results of its own: nnU-Net's other commands find the models there.

    Attributes:
        folder: Folder of the comparison.
        dataset: Name of the dataset, DatasetXXX_Name.
        configuration: Configuration of the plans: 2d, 3d_fullres, ...
        trainer: Name of the trainer's class.
        plans: Name of the plans.
        fold: Number of the fold.
        seed: Seed of initial weights and data order.
        epochs: nnU-Net's num_epochs.
        iterations: nnU-Net's num_iterations_per_epoch.
        val_iterations: nnU-Net's num_val_iterations_per_epoch.
        device: auto, cuda, cpu or mps.
        processes: Number of processes of the evaluation.
    """

    folder: str
    dataset: str
    configuration: str
    trainer: str
    plans: str
    fold: int
    seed: int
    epochs: int
    iterations: int
    val_iterations: int
    device: str = "auto"
    processes: int = 1

    @property
    def name(self) -> str:
        """Name in messages and in the progress bar."""
        return f"{self.trainer}:{self.plans} fold {self.fold} seed {self.seed}"

    @property
    def results(self) -> Path:
        """The run's nnUNet_results."""
        return Path(self.folder, f"seed_{self.seed}")

    @property
    def model(self) -> Path:
        """nnU-Net's folder of the model, whose subfolders are its folds."""
        return self.results / self.dataset / f"{self.trainer}__{self.plans}__{self.configuration}"

    @property
    def fold_folder(self) -> Path:
        """Everything of this run and nothing else."""
        return self.model / f"fold_{self.fold}"

    @property
    def log(self) -> Path:
        """Output of the process."""
        return self.fold_folder / "run.log"

    @property
    def record(self) -> Path:
        """Settings, costs and surroundings of the run."""
        return self.fold_folder / "run.json"

    @property
    def evaluation(self) -> Path:
        """`h2aseg evaluate --metrics autopet` of the validation cases; there when the run is finished."""
        return self.fold_folder / "evaluation.json"

    @property
    def schedule(self) -> dict[str, int]:
        """What all runs of a comparison share."""
        return {"epochs": self.epochs, "iterations": self.iterations, "val_iterations": self.val_iterations}

    def arguments(self) -> list[str]:
        """Return the arguments of `h2aseg` for exactly this run."""
        return [
            *("compare", "-d", self.dataset, "-c", self.configuration),
            *("--trainers", f"{self.trainer}:{self.plans}", "--folds", str(self.fold), "--seeds", str(self.seed)),
            *("--epochs", str(self.epochs), "--iterations", str(self.iterations)),
            *("--val-iterations", str(self.val_iterations), "-device", self.device, "-np", str(self.processes)),
            *("-o", self.folder, "--only", "runs"),
        ]

    def process(self) -> list[str]:
        """Return the command that carries it out."""
        return [sys.executable, "-m", "h2aseg_nnunet.petct.compare.train", json.dumps(self._asdict())]

    @classmethod
    def from_json(cls, text: str) -> "Run":
        """Make the run that the last argument of `process` describes."""
        return cls(**json.loads(text))


def make_runs(
    entries: Sequence[str], default_plans: str, folds: Sequence[int], seeds: Sequence[int], **shared: Any
) -> list[Run]:
    """Make all runs of a comparison, the folds of one seed first, so that an early stop leaves every trainer something.

    Args:
        entries: Trainers, TRAINER or TRAINER:PLANS.
        default_plans: Plans of the entries that name none.
        folds: Numbers of nnU-Net's folds.
        seeds: Seeds of initial weights and data order.
        shared: The other attributes of `Run`.

    Raises:
        UserError: If something is named twice, an entry is malformed, or a number is too small.
    """
    models = [_split(entry, default_plans) for entry in entries]
    for what, values in (("trainer", models), ("fold", folds), ("seed", seeds)):
        twice = [value for value in values if list(values).count(value) > 1]
        if twice:
            raise UserError(f"the {what} {twice[0]} is named twice.")
    for what, value, least in (
        *(("seed", seed, 0) for seed in seeds),
        *((f"number of {key}", shared[key], 1) for key in ("epochs", "iterations", "val_iterations", "processes")),
    ):
        if value < least:
            raise UserError(f"the {what} must be {least} or more, not {value}.")
    return [
        Run(trainer=trainer, plans=plans, fold=fold, seed=seed, **shared)
        for seed in seeds
        for fold in folds
        for trainer, plans in models
    ]


def _split(entry: str, default_plans: str) -> tuple[str, str]:
    trainer, _, plans = entry.partition(":")
    if not trainer or ":" in plans or (":" in entry and not plans):
        raise UserError(f"{entry!r} should be TRAINER or TRAINER:PLANS, e.g. nnUNetTrainer:nnUNetResEncUNetMPlans.")
    return trainer, plans or default_plans


def read_record(run: Run) -> dict[str, Any]:
    """Read what the run has written about itself so far; empty before its start.

    Raises:
        UserError: If a run with other settings lies there, or files that no run of a comparison made.
    """
    folder = OutputFolder(run.fold_folder, run.record.name, "a run of h2aseg compare", keys=("schedule",))
    record = own_settings(folder, run.log)
    if record is None:
        return {}
    differing = {key: found for key, found in record["schedule"].items() if found != run.schedule[key]}
    if differing:
        found = ", ".join(f"{key} {value} (now {run.schedule[key]})" for key, value in differing.items())
        raise UserError(f"{run.fold_folder} holds a run with {found}: choose another folder with -o, or move it away.")
    return record


def own_settings(folder: OutputFolder, log: Path) -> dict[str, Any] | None:
    """Return the settings of an earlier process, None if there was none, or it failed at its start and left its log.

    Raises:
        UserError: If the folder holds something else.
    """
    settings = folder.settings()
    if settings is None and list(folder.path.glob("[!.]*")) != [log]:
        folder.require_own()
    return settings


def write_record(run: Run, record: dict[str, Any]) -> None:
    """Replace what the run has written about itself."""
    write_json(run.record, record)


def is_finished(run: Run) -> bool:
    """Whether the run is trained, validated and evaluated.

    Raises:
        UserError: See `read_record`.
    """
    return bool(read_record(run)) and run.evaluation.is_file()
