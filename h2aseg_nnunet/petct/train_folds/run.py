"""The folds of one trainer by nnUNetv2_train, then nnUNetv2_find_best_configuration. Read this first."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nnunetv2.configuration import default_num_processes
from nnunetv2.utilities.file_path_utilities import folds_tuple_to_string

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.cases import images_in
from h2aseg_nnunet.petct.execute import Execute, execute_all
from h2aseg_nnunet.petct.files import exclusively
from h2aseg_nnunet.petct.nnunet.trainable import check_runs


class Training(NamedTuple):
    """One fold.

    Attributes:
        folder: nnUNet_results.
        dataset: Name of the dataset, DatasetXXX_Name.
        configuration: Configuration of the plans.
        trainer: Name of the trainer's class.
        plans: Name of the plans.
        fold: Number of the fold.
        device: cuda, cpu or mps.
        npz: Whether the validation keeps probabilities.
    """

    folder: str
    dataset: str
    configuration: str
    trainer: str
    plans: str
    fold: int
    device: str = "cuda"
    npz: bool = False

    @property
    def name(self) -> str:
        """Name in messages and in the progress bar."""
        return f"{self.trainer}:{self.plans} {self.configuration} fold {self.fold}"

    @property
    def results(self) -> Path:
        """nnUNet_results."""
        return Path(self.folder)

    @property
    def processes(self) -> int:
        """As many as nnU-Net takes by itself."""
        return default_num_processes

    @property
    def model(self) -> Path:
        """nnU-Net's folder of the model."""
        return self.results / self.dataset / f"{self.trainer}__{self.plans}__{self.configuration}"

    @property
    def log(self) -> Path:
        """Output of the process."""
        return self.model / f"train_fold_{self.fold}.log"

    @property
    def summary(self) -> Path:
        """What nnU-Net writes last."""
        return self.model / f"fold_{self.fold}" / "validation" / "summary.json"

    @property
    def is_finished(self) -> bool:
        """Whether the fold is trained and validated, with probabilities if they are to be kept."""
        return self.summary.is_file() and self.is_trained and not (self.npz and self._lack_probabilities)

    @property
    def is_trained(self) -> bool:
        """Whether the last epoch is done."""
        return (self.model / f"fold_{self.fold}" / "checkpoint_final.pth").is_file()

    @property
    def _lack_probabilities(self) -> list[str]:
        """Validation cases that an earlier run has validated without keeping them."""
        masks = images_in(self.summary.parent)
        return [name for name in masks if not (self.summary.parent / f"{name}.npz").is_file()]

    def process(self) -> list[str]:
        """Return nnU-Net's command, which goes on where an earlier one ended: at a checkpoint, or the validation."""
        what = [self.dataset, self.configuration, str(self.fold), "-tr", self.trainer, "-p", self.plans]
        how = ["-device", self.device, *(["--npz"] if self.npz else []), "--val" if self.is_trained else "--c"]
        return [_program("nnUNetv2_train"), *what, *how]


class BestConfiguration(NamedTuple):
    """What follows when all folds are trained.

    Attributes:
        trainings: The folds.
    """

    trainings: tuple[Training, ...]

    @property
    def name(self) -> str:
        """Name in messages and in the progress bar."""
        first = self.trainings[0]
        return f"{first.trainer}:{first.plans} {first.configuration} best configuration"

    @property
    def results(self) -> Path:
        """nnUNet_results."""
        return self.trainings[0].results

    @property
    def processes(self) -> int:
        """As many as nnU-Net takes by itself."""
        return default_num_processes

    @property
    def log(self) -> Path:
        """Output of the process."""
        return self.trainings[0].model / "find_best_configuration.log"

    @property
    def instructions(self) -> Path:
        """nnU-Net's instructions for inference, of the trainer that was asked about last."""
        return self.results / self.trainings[0].dataset / "inference_instructions.txt"

    @property
    def is_finished(self) -> bool:
        """Whether nnU-Net has answered for these folds since they were trained."""
        folds = folds_tuple_to_string([training.fold for training in self.trainings])
        pickled = f"{self.trainings[0].model / f'crossval_results_folds_{folds}' / 'postprocessing.pkl'}"
        if not self.instructions.is_file() or pickled not in self.instructions.read_text():
            return False
        return all(self.instructions.stat().st_mtime >= training.summary.stat().st_mtime for training in self.trainings)

    def process(self) -> list[str]:
        """Return nnU-Net's command."""
        first, folds = self.trainings[0], [str(training.fold) for training in self.trainings]
        what = [first.dataset, "-c", first.configuration, "-tr", first.trainer, "-p", first.plans, "-f", *folds]
        return [_program("nnUNetv2_find_best_configuration"), *what]


def train_folds(trainings: Sequence[Training], execute: Execute = execute_all) -> Path:
    """Train the folds that are not finished, each from its latest checkpoint, and let nnU-Net say how to predict.

    Args:
        trainings: The folds of one trainer.
        execute: Carries the processes out.

    Returns:
        nnU-Net's inference_instructions.txt.

    Raises:
        UserError: If something is missing (see `check_runs`), or a fold failed.
    """
    check_runs(trainings)
    with exclusively(trainings[0].model / ".train_folds.lock"):
        return _train_folds(trainings, execute)


def _train_folds(trainings: Sequence[Training], execute: Execute) -> Path:
    unfinished = [training for training in trainings if not training.is_finished]
    failures = execute(unfinished, len(trainings) - len(unfinished), "fold")
    missing = [str(training.fold) for training in trainings if not training.is_finished]
    if failures or missing:
        raise UserError(
            f"fold {', '.join(missing)} of {trainings[0].model.name} not finished: see the logs named above; the same "
            "command goes on."
        )
    best = BestConfiguration(tuple(trainings))
    if not best.is_finished and execute([best], 0, "step"):
        raise UserError("nnUNetv2_find_best_configuration failed, as told above.")
    return best.instructions


def _program(name: str) -> str:
    """A command of nnU-Net in this Python's environment."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.is_file() else name
