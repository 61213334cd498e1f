"""Cases of an evaluation: which files belong together, what their masks may hold, and all of it on one grid."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.modalities import CT, PET
from h2aseg_nnunet.petct.cases import images_in
from h2aseg_nnunet.petct.evaluate.metrics import HECKTOR_LABELS
from h2aseg_nnunet.petct.evaluate.protocols import HECKTOR
from h2aseg_nnunet.petct.images.grids import require_same_grid
from h2aseg_nnunet.petct.images.masks import UNDECLARED, MaskValues, leave_out_unjudged, read_mask
from h2aseg_nnunet.petct.images.reading import read_image
from h2aseg_nnunet.petct.labels import Declared, Labels
from h2aseg_nnunet.petct.nnunet.dataset_json import declared_beside, declared_by

HECKTOR_SPACING_MM = 1e-6
"""Spacings may differ by this in the HECKTOR challenges."""


class EvaluatedCase(NamedTuple):
    """Files of one case; prediction and PET may be missing."""

    name: str
    reference: Path
    prediction: Path | None = None
    pet: Path | None = None


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
        """Names of the cases without a prediction."""
        return [case.name for case in self.cases if case.prediction is None]


class CaseArrays(NamedTuple):
    """One case, axes in the order z, y, x.

    Attributes:
        reference: Label map; voxels that nobody judged are background.
        prediction: Label map; background where nobody judged, and everywhere if the prediction is missing.
        spacing_mm: Size of the voxels in the order of the axes.
        suv: PET, or None.
        unjudged: Number of voxels that nobody judged.
    """

    reference: NDArray
    prediction: NDArray
    spacing_mm: tuple[float, ...]
    suv: NDArray | None
    unjudged: int


def pair_files(reference_dir: Path, prediction_dir: Path, pet_dir: Path | None = None) -> Pairing:
    """Match files by name; their endings may differ.

    Args:
        reference_dir: Folder of `case.nii.gz` and so on, as nnU-Net's labelsTr.
        prediction_dir: Folder of files of the same names.
        pet_dir: nnU-Net's images, whose PET is `case_0001.nii.gz`, or a folder of `case.nii.gz`.

    Raises:
        UserError: If a folder does not exist, holds no image, or one case twice, or if no names agree.
    """
    references, predictions = images_in(reference_dir), images_in(prediction_dir)
    if not references.keys() & predictions.keys():
        raise UserError(
            f"No file in {prediction_dir} is named like one in {reference_dir}: there is {min(predictions)}, expected "
            f"was e.g. {min(references)}. Predictions need their references' names."
        )
    pets = {} if pet_dir is None else _pets_by_case(pet_dir, references)
    cases = [
        EvaluatedCase(name, references[name], predictions.get(name), pets.get(name)) for name in sorted(references)
    ]
    return Pairing(cases, sorted(predictions.keys() - references.keys()))


def _pets_by_case(folder: Path, cases: Iterable[str]) -> dict[str, Path]:
    """Find PETs by one way of naming for the whole folder: `p_0001` may be the PET of case p, or a case of its own.

    Files of channel 0000 tell nnU-Net's way. Without them the way that finds every case counts.

    Raises:
        UserError: If both ways find every case, by different files.
    """
    images = images_in(folder)
    as_channel = {name: images[file] for name in cases if (file := f"{name}_{PET:04d}") in images}
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


def require_pets(cases: Iterable[EvaluatedCase], pet_dir: Path) -> None:
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


def find_mask_values(
    reference_dir: Path, prediction_dir: Path, protocol: str, dataset_json: str | Path | None = None
) -> MaskValues:
    """Find out which values references and predictions may hold.

    Args:
        reference_dir: Folder of masks. The dataset.json that describes it holds for predictions too if they have none.
        prediction_dir: Folder of masks. The dataset.json that describes it holds for references too if they have none.
        protocol: One of `PROTOCOLS`. HECKTOR's demands its own labels.
        dataset_json: Declares the values of all masks; None to look for it.

    Raises:
        UserError: If something is wrong with a dataset.json, or its ignore label is one of HECKTOR's labels.
    """
    if dataset_json is not None:
        declared = declared_by(Path(dataset_json))
        found = MaskValues(declared, declared)
    else:
        reference, prediction = declared_beside(reference_dir), declared_beside(prediction_dir)
        found = MaskValues(reference or prediction, prediction or reference)
    return MaskValues(*map(_of_hecktor, found)) if protocol in HECKTOR else found


def read_case(case: EvaluatedCase, resample_prediction: bool = False, values: MaskValues = UNDECLARED) -> CaseArrays:
    """Read masks and PET of a case.

    Args:
        case: Its files.
        resample_prediction: Whether to bring a prediction of equal spacing onto the reference's grid by nearest
            neighbor, as HECKTOR does; else another grid is an error.
        values: The values that masks may hold.

    Raises:
        UserError: If a file cannot be read, a mask has other values, or grids differ.
    """
    reference = read_mask(case.reference, values.reference)
    suv = None
    if case.pet is not None:
        pet = read_image(case.pet)
        require_same_grid(case.pet, pet, case.reference, reference, "Bring the PET onto the masks' grid (linear).")
        suv = SimpleITK.GetArrayFromImage(pet)
    reference_array = SimpleITK.GetArrayFromImage(reference)
    if case.prediction is None:
        prediction_array = np.zeros_like(reference_array)
    else:
        prediction = read_mask(case.prediction, values.prediction)
        if resample_prediction:
            prediction = _onto_grid(case.prediction, prediction, case.reference, reference)
        else:
            remedy = "Bring the prediction onto the reference's grid first (nearest neighbor): these metrics do not."
            require_same_grid(case.prediction, prediction, case.reference, reference, remedy)
        prediction_array = SimpleITK.GetArrayFromImage(prediction)
    unjudged = leave_out_unjudged(reference_array, prediction_array, values)
    return CaseArrays(reference_array, prediction_array, reference.GetSpacing()[::-1], suv, unjudged)


def _of_hecktor(declared: Declared | None) -> Declared:
    ignore = None if declared is None else declared.labels.ignore
    if declared is not None and ignore in HECKTOR_LABELS.values():
        raise UserError(
            f"{declared.source} declares {ignore} as ignore label, but HECKTOR's labels are "
            f"{', '.join(f'{value} ({name})' for name, value in HECKTOR_LABELS.items())}: choose other metrics, or "
            "another dataset.json with --dataset-json."
        )
    classes: dict[str, tuple[int, ...]] = {name: (value,) for name, value in HECKTOR_LABELS.items()}
    return Declared(Labels((0, *HECKTOR_LABELS.values()), classes, ignore), "HECKTOR")


def _onto_grid(file: Path, image: SimpleITK.Image, reference_file: Path, reference: SimpleITK.Image) -> SimpleITK.Image:
    """Resample as HECKTOR's code does, which demands equal spacing."""
    if not np.allclose(image.GetSpacing(), reference.GetSpacing(), rtol=0, atol=HECKTOR_SPACING_MM):
        raise UserError(
            f"{file} has a spacing of {image.GetSpacing()} mm, {reference_file} of {reference.GetSpacing()} mm: "
            "HECKTOR demands equal spacing. Resample the prediction to the reference's (nearest neighbor)."
        )
    return SimpleITK.Resample(image, reference, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor, 0)
