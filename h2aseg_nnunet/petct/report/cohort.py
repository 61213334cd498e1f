"""Which cases a report shows: every prediction, with its CT and PET and, where there is one, its reference."""

from pathlib import Path
from typing import NamedTuple

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.report.dataset import Dataset


class CaseFiles(NamedTuple):
    """The files of one case, on one grid; the reference is None where there is none."""

    name: str
    ct: Path
    pet: Path
    prediction: Path
    reference: Path | None = None

    def files(self) -> list[Path]:
        return [file for file in self[1:] if file is not None]


class Cohort(NamedTuple):
    """All cases by name, and the names of those that are incomplete.

    Attributes:
        cases: Predictions with CT and PET.
        without_images: Predictions whose CT or PET is missing; they cannot be shown.
        without_reference: Cases shown without comparison, although references were given.
        without_prediction: Names that have an image or a reference only.
    """

    cases: list[CaseFiles]
    without_images: list[str]
    without_reference: list[str]
    without_prediction: list[str]


def find_cases(images: Path, predictions: Path, references: Path | None, dataset: Dataset) -> Cohort:
    """Match the files of nnU-Net's folders by case name.

    Raises:
        UserError: If a folder is missing or no prediction has its images.
    """
    for option, folder in (("-i", images), ("-p", predictions), ("-r", references)):
        if folder is not None and not folder.is_dir():
            raise UserError(f"{option} {folder} is not a folder.")
    predicted = _names(predictions, dataset.file_ending)
    with_ct, with_pet = (
        _names(images, f"_{channel:04d}{dataset.file_ending}") for channel in (dataset.ct, dataset.pet)
    )
    referenced = _names(references, dataset.file_ending) if references else set()
    cases = [_case(name, images, predictions, references, dataset) for name in sorted(predicted & with_ct & with_pet)]
    if not cases:
        raise UserError(
            f"No case to show: {predictions} holds {len(predicted)} predictions (*{dataset.file_ending}), and none has "
            f"its CT (_{dataset.ct:04d}) and PET (_{dataset.pet:04d}) in {images}."
        )
    return Cohort(
        cases,
        without_images=sorted(predicted - (with_ct & with_pet)),
        without_reference=[case.name for case in cases if references and case.reference is None],
        without_prediction=sorted((with_ct | with_pet | referenced) - predicted),
    )


def _names(folder: Path, ending: str) -> set[str]:
    return {
        file.name.removesuffix(ending)
        for file in folder.iterdir()
        if file.name.endswith(ending) and not file.name.startswith(".")
    }


def _case(name: str, images: Path, predictions: Path, references: Path | None, dataset: Dataset) -> CaseFiles:
    reference = references / f"{name}{dataset.file_ending}" if references else None
    return CaseFiles(
        name,
        ct=images / f"{name}_{dataset.ct:04d}{dataset.file_ending}",
        pet=images / f"{name}_{dataset.pet:04d}{dataset.file_ending}",
        prediction=predictions / f"{name}{dataset.file_ending}",
        reference=reference if reference and reference.is_file() else None,
    )
