"""Held-out cases: predicted by the ensemble of a trainer's folds, one ensemble per seed."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.petct.cases import images_in
from h2aseg_nnunet.petct.compare.training_runs import Run, is_finished, own_settings
from h2aseg_nnunet.petct.files import OutputFolder

RECORD, IMAGES = "predict_from_raw_data_args.json", "list_of_lists_or_source_folder"
"""What nnU-Net writes beside predictions, and the folder of images in it."""


class HeldOut(NamedTuple):
    """Cases that no fold has seen.

    Attributes:
        images: Folder of case_0000.nii.gz and so on.
        references: Folder of case.nii.gz.
        mirroring: Whether predictions average over mirrored images, nnU-Net's default.
    """

    images: str
    references: str
    mirroring: bool = True

    @property
    def label(self) -> str:
        """Name in names of files. Nearly every dataset calls the folder imagesTs: the one above it tells which."""
        folder = Path(self.images).resolve()
        return f"{folder.parent.name}_{folder.name}" + ("" if self.mirroring else "_disable_tta")


class Ensemble(NamedTuple):
    """The folds of one model from one seed, and what they predict together.

    Attributes:
        runs: The finished runs, one per fold.
        heldout: The cases to predict.
    """

    runs: tuple[Run, ...]
    heldout: HeldOut

    @property
    def name(self) -> str:
        """Name in messages and in the progress bar."""
        run = self.runs[0]
        return f"{run.trainer}:{run.plans} seed {run.seed} on {self.heldout.label}"

    @property
    def results(self) -> Path:
        """nnUNet_results of the seed."""
        return self.runs[0].results

    @property
    def processes(self) -> int:
        """Number of processes of the evaluation."""
        return self.runs[0].processes

    @property
    def folder(self) -> Path:
        """Folder of the predictions."""
        folds = "_".join(str(run.fold) for run in self.runs)
        return self.runs[0].model / f"predicted_{self.heldout.label}_folds_{folds}"

    @property
    def log(self) -> Path:
        """Output of the process."""
        return self.folder / "run.log"

    @property
    def evaluation(self) -> Path:
        """`h2aseg evaluate --metrics autopet`; there when the predictions are complete."""
        return self.folder / "evaluation.json"

    def process(self) -> list[str]:
        """Return the command that carries it out."""
        content = {"runs": [run._asdict() for run in self.runs], "heldout": self.heldout._asdict()}
        return [sys.executable, "-m", "h2aseg_nnunet.petct.compare.predict", json.dumps(content)]

    @classmethod
    def from_json(cls, text: str) -> "Ensemble":
        """Make the ensemble that the last argument of `process` describes."""
        content = json.loads(text)
        return cls(tuple(Run(**run) for run in content["runs"]), HeldOut(**content["heldout"]))


def make_ensembles(runs: Sequence[Run], heldout: HeldOut) -> list[Ensemble]:
    """Make an ensemble for every model and seed.

    Raises:
        UserError: If a folder is missing, a reference has no image, or predictions of other images are in the way.
    """
    cases = {name.rpartition("_")[0] for name in images_in(Path(heldout.images))}
    absent = sorted(images_in(Path(heldout.references)).keys() - cases)
    if absent:
        raise UserError(
            f"{heldout.images} lacks the images of {listing(absent)}, which have references in {heldout.references}."
        )
    groups: dict[Path, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.fold):
        groups.setdefault(run.model, []).append(run)
    in_order = sorted(groups.values(), key=lambda group: min(map(runs.index, group)))
    ensembles = [Ensemble(tuple(group), heldout) for group in in_order]
    for ensemble in ensembles:
        _check_images(ensemble)
    return ensembles


def _check_images(ensemble: Ensemble) -> None:
    """Compare with nnU-Net's own record beside the predictions, which says of which images they are."""
    folder = OutputFolder(ensemble.folder, RECORD, "a prediction by nnU-Net", keys=(IMAGES,))
    record = own_settings(folder, ensemble.log)
    if record is None:
        return
    images = record[IMAGES]
    if Path(images).resolve() != Path(ensemble.heldout.images).resolve():
        raise UserError(
            f"{ensemble.folder} holds predictions of {images}, not of {ensemble.heldout.images}: rename the folder of "
            "images or the one above it, or move the predictions away."
        )


def is_trained(ensemble: Ensemble) -> bool:
    """Whether all folds are finished."""
    return all(is_finished(run) for run in ensemble.runs)


def is_predicted(ensemble: Ensemble) -> bool:
    """Whether predictions and evaluation are there and of the present folds: none has been trained anew since."""
    if not is_trained(ensemble) or not ensemble.evaluation.is_file():
        return False
    return all(ensemble.evaluation.stat().st_mtime >= run.evaluation.stat().st_mtime for run in ensemble.runs)
