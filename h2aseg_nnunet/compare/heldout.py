"""Held-out cases: predicted by the ensemble of a trainer's folds, one ensemble per seed."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from h2aseg_nnunet.compare.runs import Run, is_finished
from h2aseg_nnunet.evaluation.pairing import images_in, listing


class Ensemble(NamedTuple):
    """The folds of one model from one seed, and what they predict together.

    Attributes:
        runs: One per fold.
        images: Folder of case_0000.nii.gz and so on.
        references: Folder of case.nii.gz.
    """

    runs: tuple[Run, ...]
    images: str
    references: str

    @property
    def name(self) -> str:
        """For messages and the progress bar."""
        run = self.runs[0]
        return f"{run.trainer}:{run.plans} seed {run.seed} on {Path(self.images).name}"

    @property
    def results(self) -> Path:
        """nnUNet_results of the seed."""
        return self.runs[0].results

    @property
    def processes(self) -> int:
        """For evaluation."""
        return self.runs[0].processes

    @property
    def folder(self) -> Path:
        """Of the predictions."""
        folds = "_".join(str(run.fold) for run in self.runs)
        return self.runs[0].model / f"predicted_{Path(self.images).name}_folds_{folds}"

    @property
    def log(self) -> Path:
        """Output of the process."""
        return self.folder / "run.log"

    @property
    def evaluation(self) -> Path:
        """`h2aseg evaluate --metrics autopet`; there when the predictions are complete."""
        return self.folder / "evaluation.json"

    def process(self) -> list[str]:
        """The command that carries it out."""
        content = self._asdict() | {"runs": [run._asdict() for run in self.runs]}
        return [sys.executable, "-m", "h2aseg_nnunet.compare.predict", json.dumps(content)]

    @classmethod
    def from_json(cls, text: str) -> "Ensemble":
        """Of the last argument of `process`."""
        content = json.loads(text)
        return cls(**content | {"runs": tuple(Run(**run) for run in content["runs"])})


def make_ensembles(runs: Sequence[Run], images: str, references: str) -> list[Ensemble]:
    """An ensemble for every model and seed.

    Raises:
        ValueError: If a folder is missing, or a reference has no image.
    """
    cases = {name.rpartition("_")[0] for name in images_in(Path(images))}
    absent = sorted(images_in(Path(references)).keys() - cases)
    if absent:
        raise ValueError(f"{images} lacks the images of {listing(absent)}, which have references in {references}.")
    groups: dict[Path, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.fold):
        groups.setdefault(run.model, []).append(run)
    in_order = sorted(groups.values(), key=lambda group: min(map(runs.index, group)))
    return [Ensemble(tuple(group), images, references) for group in in_order]


def is_trained(ensemble: Ensemble) -> bool:
    """Whether all folds are finished."""
    return all(is_finished(run) for run in ensemble.runs)


def is_predicted(ensemble: Ensemble) -> bool:
    """Whether predictions and evaluation are there and of the present folds: none has been trained anew since."""
    if not is_trained(ensemble) or not ensemble.evaluation.is_file():
        return False
    return all(ensemble.evaluation.stat().st_mtime >= run.evaluation.stat().st_mtime for run in ensemble.runs)
