"""Which files belong together: reference, prediction and PET of each case."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.modalities import PET
from h2aseg_nnunet.petct.nnunet.cases import images_in


class CaseFiles(NamedTuple):
    """Files of one case; prediction and PET may be missing."""

    name: str
    reference: Path
    prediction: Path | None = None
    pet: Path | None = None


class Pairing(NamedTuple):
    """All cases that have a reference, and predictions that have none.

    Attributes:
        cases: In the order of their names.
        extra_predictions: Names of predictions without a reference.
    """

    cases: list[CaseFiles]
    extra_predictions: list[str]

    @property
    def missing_predictions(self) -> list[str]:
        """Names of the cases without a prediction."""
        return [case.name for case in self.cases if case.prediction is None]


def pair_files(reference_dir: Path, prediction_dir: Path, pet_dir: Path | None = None) -> Pairing:
    """Match files by name; their endings may differ.

    Args:
        reference_dir: `case.nii.gz` and so on, as in nnU-Net's labelsTr.
        prediction_dir: The same names.
        pet_dir: nnU-Net's images, whose PET is `case_0001.nii.gz`, or `case.nii.gz`.

    Raises:
        UserError: If a folder does not exist, holds no image, or one case twice, or if no names agree.
    """
    references, predictions = images_in(reference_dir), images_in(prediction_dir)
    if not references.keys() & predictions.keys():
        raise UserError(
            f"No file in {prediction_dir} is named like one in {reference_dir}: there is {min(predictions)}, expected "
            f"was e.g. {min(references)}. Predictions need their references' names."
        )
    pets = {} if pet_dir is None else images_in(pet_dir)
    cases = [
        CaseFiles(name, references[name], predictions.get(name), pets.get(f"{name}_{PET:04d}") or pets.get(name))
        for name in sorted(references)
    ]
    return Pairing(cases, sorted(predictions.keys() - references.keys()))


def require_pets(cases: Iterable[CaseFiles], pet_dir: Path) -> None:
    """Make sure that every case has its PET.

    Raises:
        UserError: If not; the message names the cases and the file that is expected.
    """
    missing = [case.name for case in cases if case.pet is None]
    if missing:
        raise UserError(
            f"{pet_dir} lacks the PET of {listing(missing)}: expected are files such as {missing[0]}_{PET:04d}.nii.gz "
            f"(nnU-Net's) or {missing[0]}.nii.gz."
        )
