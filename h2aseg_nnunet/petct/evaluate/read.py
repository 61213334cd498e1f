"""The arrays of a case: what its masks may hold, and all of it on one grid."""

from pathlib import Path

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.evaluate.cases import EvaluatedCase
from h2aseg_nnunet.petct.evaluate.metrics import HECKTOR_LABELS
from h2aseg_nnunet.petct.evaluate.protocol import CaseArrays
from h2aseg_nnunet.petct.evaluate.protocols import find_protocol
from h2aseg_nnunet.petct.images.grids import Grid, bring_onto, require_same_grid
from h2aseg_nnunet.petct.images.masks import UNDECLARED, MaskValues, leave_out_unjudged, read_mask
from h2aseg_nnunet.petct.images.reading import read_image
from h2aseg_nnunet.petct.labels import Declared, Labels
from h2aseg_nnunet.petct.nnunet.dataset_json import declared_beside, declared_by

HECKTOR_SPACING_MM = 1e-6
"""Spacings may differ by this in HECKTOR 2022."""


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
    return MaskValues(*map(_of_hecktor, found)) if find_protocol(protocol).labels else found


def read_case(case: EvaluatedCase, resample_prediction: bool = False, values: MaskValues = UNDECLARED) -> CaseArrays:
    """Read masks and PET of a case.

    Args:
        case: Its files.
        resample_prediction: Whether to bring a prediction of equal spacing onto the reference's grid by nearest
            neighbor, as HECKTOR 2022 does; else another grid is an error.
        values: The values that masks may hold.

    Raises:
        UserError: If a file cannot be read, a mask has other values, or grids differ.
    """
    reference = read_mask(case.reference, values.reference)
    suv = None if case.pet is None else read_suv(case.pet, case.reference, reference)
    reference_array = SimpleITK.GetArrayFromImage(reference)
    organs = None if case.organs is None else read_organ_map(case.organs, reference)
    files = (*case.earlier, case.prediction)
    steps = [_read_prediction(file, case.reference, reference, resample_prediction, values) for file in files]
    for step in steps[:-1]:
        leave_out_unjudged(reference_array.copy(), step, values)
    unjudged = leave_out_unjudged(reference_array, steps[-1], values)
    return CaseArrays(reference_array, tuple(steps), reference.GetSpacing()[::-1], suv, organs, unjudged)


def read_suv(pet_file: Path, mask_file: Path, mask: SimpleITK.Image) -> NDArray:
    """Read a PET that lies on the grid of a mask.

    Raises:
        UserError: If it cannot be read, or lies on another grid.
    """
    pet = read_image(pet_file)
    require_same_grid(pet_file, pet, mask_file, mask, "Bring the PET onto the masks' grid (linear).")
    return SimpleITK.GetArrayFromImage(pet)


def read_organ_map(file: Path, mask: SimpleITK.Image) -> NDArray:
    """Read an organ map, on the grid of a mask.

    Raises:
        UserError: If it cannot be read.
    """
    on_grid, _ = bring_onto(read_mask(file), Grid.of(mask), linear=False)
    return SimpleITK.GetArrayFromImage(on_grid)


def _read_prediction(
    file: Path | None, reference_file: Path, reference: SimpleITK.Image, resample: bool, values: MaskValues
) -> NDArray:
    """The predicted mask on the reference's grid; empty if there is no file."""
    if file is None:
        return np.zeros_like(SimpleITK.GetArrayViewFromImage(reference))
    prediction = read_mask(file, values.prediction)
    if resample:
        prediction = _onto_grid(file, prediction, reference_file, reference)
    else:
        remedy = "Bring the prediction onto the reference's grid first (nearest neighbor): these metrics do not."
        require_same_grid(file, prediction, reference_file, reference, remedy)
    return SimpleITK.GetArrayFromImage(prediction)


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
