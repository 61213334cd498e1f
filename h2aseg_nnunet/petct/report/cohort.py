"""Which cases a report shows: every prediction, with its CT and PET and, where there is one, its reference."""

from pathlib import Path
from typing import NamedTuple

from SimpleITK import Image

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.images.grids import require_same_grid
from h2aseg_nnunet.petct.images.masks import MaskValues, read_mask
from h2aseg_nnunet.petct.images.reading import read_image
from h2aseg_nnunet.petct.nnunet.dataset_json import Dataset

REMEDY = "nnU-Net needs one grid per case: resample the file onto it."


class ReportedCase(NamedTuple):
    """The files of one case, on one grid; the reference is None where there is none."""

    name: str
    ct: Path
    pet: Path
    prediction: Path
    reference: Path | None = None

    def files(self) -> list[Path]:
        """Return the files that there are."""
        return [file for file in self[1:] if file is not None]


class CaseImages(NamedTuple):
    """The images of one case on one grid, as they lie in the files."""

    ct: Image
    pet: Image
    prediction: Image
    reference: Image | None = None


class Cohort(NamedTuple):
    """All cases in the order of their names, and the names of those that are incomplete.

    Attributes:
        cases: Predictions with CT and PET.
        without_images: Predictions whose CT or PET is missing; they cannot be shown.
        without_reference: Cases shown without comparison, although references were given.
        without_prediction: Names that have an image or a reference only.
    """

    cases: list[ReportedCase]
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
    ct, pet = _channels(dataset)
    with_ct, with_pet = (_names(images, f"_{channel:04d}{dataset.file_ending}") for channel in (ct, pet))
    referenced = _names(references, dataset.file_ending) if references else set()
    cases = [_case(name, images, predictions, references, dataset) for name in sorted(predicted & with_ct & with_pet)]
    if not cases:
        raise UserError(
            f"No case to show: {predictions} holds {len(predicted)} predictions (*{dataset.file_ending}), and none has "
            f"its CT (_{ct:04d}) and PET (_{pet:04d}) in {images}."
        )
    return Cohort(
        cases,
        without_images=sorted(predicted - (with_ct & with_pet)),
        without_reference=[case.name for case in cases if references and case.reference is None],
        without_prediction=sorted((with_ct | with_pet | referenced) - predicted),
    )


def read_case(case: ReportedCase, mask_values: MaskValues) -> CaseImages:
    """Read the images of a case.

    Args:
        case: Its files.
        mask_values: The values that masks may hold.

    Raises:
        UserError: If a file cannot be read, is not a scalar volume, a mask has another value, or a file lies on another
            grid than the PET.
    """
    ct, pet = read_image(case.ct), read_image(case.pet)
    images = [ct, pet, read_mask(case.prediction, mask_values.prediction)]
    if case.reference is not None:
        images.append(read_mask(case.reference, mask_values.reference))
    for file, image in zip(case.files(), images, strict=True):
        require_same_grid(file, image, case.pet, pet, REMEDY)
        image.CopyInformation(pet)  # exactly, so that whatever is resampled below has the same size
    return CaseImages(*images)


def _names(folder: Path, ending: str) -> set[str]:
    return {
        file.name.removesuffix(ending)
        for file in folder.iterdir()
        if file.name.endswith(ending) and not file.name.startswith(".")
    }


def _case(name: str, images: Path, predictions: Path, references: Path | None, dataset: Dataset) -> ReportedCase:
    reference = references / f"{name}{dataset.file_ending}" if references else None
    ct, pet = _channels(dataset)
    return ReportedCase(
        name,
        ct=images / f"{name}_{ct:04d}{dataset.file_ending}",
        pet=images / f"{name}_{pet:04d}{dataset.file_ending}",
        prediction=predictions / f"{name}{dataset.file_ending}",
        reference=reference if reference and reference.is_file() else None,
    )


def _channels(dataset: Dataset) -> tuple[int, int]:
    """Return the channels that are shown: of several CT or PET channels, the first."""
    return dataset.channels.ct[0], dataset.channels.pet[0]
