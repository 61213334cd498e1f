"""Cases of an evaluation: which files belong together."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.modalities import CT, PET
from h2aseg_nnunet.petct.cases import images_in
from h2aseg_nnunet.petct.nnunet.dataset_json import find_dataset_json, pet_channel, read_dataset_json


class EvaluatedCase(NamedTuple):
    """Files of one case; all but the reference may be missing.

    Attributes:
        name: Name of the case.
        reference: Its reference mask.
        prediction: Its predicted mask; of several interaction steps the last.
        pet: PET in SUV.
        organs: Organ map.
        earlier: Predicted masks of the steps before the last.
    """

    name: str
    reference: Path
    prediction: Path | None = None
    pet: Path | None = None
    organs: Path | None = None
    earlier: tuple[Path | None, ...] = ()


class Pairing(NamedTuple):
    """All cases that have a reference, and predictions that have none.

    Attributes:
        cases: The cases in the order of their names.
        extra_predictions: Names of predictions without a reference.
    """

    cases: list[EvaluatedCase]
    extra_predictions: list[str]

    @property
    def missing_predictions(self) -> list[str]:
        """Names of the cases without a prediction, or without that of one step."""
        return [case.name for case in self.cases if None in (case.prediction, *case.earlier)]


def pair_files(
    reference_dir: Path,
    prediction_dir: Path,
    pet_dir: Path | None = None,
    earlier_dirs: Sequence[Path] = (),
    organ_dir: Path | None = None,
    dataset_json: Path | None = None,
) -> Pairing:
    """Match files by name; their endings may differ.

    Args:
        reference_dir: Folder of `case.nii.gz` and so on, as nnU-Net's labelsTr.
        prediction_dir: Folder of files of the same names.
        pet_dir: nnU-Net's images, whose PET is `case_0001.nii.gz` unless their dataset.json says otherwise, or a folder
            of `case.nii.gz`.
        earlier_dirs: Folders of the interaction steps before `prediction_dir`.
        organ_dir: Folder of organ maps of the same names.
        dataset_json: Says which channel is the PET, where no dataset.json describes `pet_dir`.

    Raises:
        UserError: If a folder does not exist, holds no image, or one case twice, or if no names agree.
    """
    references = images_in(reference_dir)
    steps = [_named_like(references, reference_dir, folder) for folder in (*earlier_dirs, prediction_dir)]
    pets = {} if pet_dir is None else _pets_by_case(pet_dir, references, _pet_channel(pet_dir, dataset_json))
    organs = {} if organ_dir is None else images_in(organ_dir)
    cases = []
    for name in sorted(references):
        *earlier, last = (step.get(name) for step in steps)
        cases.append(EvaluatedCase(name, references[name], last, pets.get(name), organs.get(name), tuple(earlier)))
    return Pairing(cases, sorted({name for step in steps for name in step} - references.keys()))


def _named_like(references: dict[str, Path], reference_dir: Path, folder: Path) -> dict[str, Path]:
    """The masks of a folder, of which at least one has a reference's name."""
    predictions = images_in(folder)
    if not references.keys() & predictions.keys():
        raise UserError(
            f"No file in {folder} is named like one in {reference_dir}: there is {min(predictions)}, expected "
            f"was e.g. {min(references)}. Predictions need their references' names."
        )
    return predictions


def _pet_channel(folder: Path, dataset_json: Path | None = None) -> int:
    description = find_dataset_json(folder) or dataset_json
    return PET if description is None else pet_channel(read_dataset_json(description))


def _pets_by_case(folder: Path, cases: Iterable[str], channel: int) -> dict[str, Path]:
    """Find PETs by one way of naming for the whole folder: `p_0001` may be the PET of case p, or a case of its own.

    Files of channel 0000 tell nnU-Net's way. Without them the way that finds every case counts.

    Raises:
        UserError: If both ways find every case, by different files.
    """
    images = images_in(folder)
    as_channel = {name: images[file] for name in cases if (file := f"{name}_{channel:04d}") in images}
    as_case = {name: images[name] for name in cases if name in images}
    if any(name.endswith(f"_{CT:04d}") for name in images):
        return as_channel
    if as_channel and as_channel.keys() == as_case.keys():
        name = min(as_case)
        raise UserError(
            f"{folder} holds {as_case[name].name} and {as_channel[name].name}, and either may be the PET of {name}: "
            "keep one way of naming in the folder."
        )
    return max(as_case, as_channel, key=len)


def require_pets(cases: Iterable[EvaluatedCase], pet_dir: Path, dataset_json: Path | None = None) -> None:
    """Make sure that every case has its PET.

    Args:
        cases: The cases, of `pair_files`.
        pet_dir: As there.
        dataset_json: As there.

    Raises:
        UserError: If not; the message names the cases and the file that is expected.
    """
    missing = [case.name for case in cases if case.pet is None]
    if missing:
        channel = f"{_pet_channel(pet_dir, dataset_json):04d}"
        raise UserError(
            f"{pet_dir} lacks the PET of {listing(missing)}: expected are files such as {missing[0]}_{channel}.nii.gz "
            f"(nnU-Net's) or {missing[0]}.nii.gz."
        )


def require_organs(cases: Iterable[EvaluatedCase], organ_dir: Path) -> None:
    """Make sure that every case has its organ map.

    Raises:
        UserError: If not; the message names the cases.
    """
    missing = [case.name for case in cases if case.organs is None]
    if missing:
        raise UserError(f"{organ_dir} lacks the organ map of {listing(missing)}: expected is {missing[0]}.nii.gz.")
