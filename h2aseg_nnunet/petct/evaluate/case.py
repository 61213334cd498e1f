"""Masks and PET of one case on one grid, or a sentence that says why not."""

import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.evaluate.pairing import CaseFiles
from h2aseg_nnunet.petct.images.grids import Grid
from h2aseg_nnunet.petct.images.reading import read_image

SAME_GRID_VOXELS = 0.1
"""Corners that lie closer than this belong to one grid: headers are rounded, and half a voxel would be another grid."""

HECKTOR_SPACING_MM = 1e-6
"""Spacings may differ by this in the HECKTOR challenges."""


class CaseArrays(NamedTuple):
    """One case, axes in the order z, y, x; a missing prediction is empty."""

    reference: NDArray
    prediction: NDArray
    spacing_mm: tuple[float, ...]
    suv: NDArray | None


def read_case(case: CaseFiles, resample_prediction: bool = False, labels: tuple[int, ...] | None = None) -> CaseArrays:
    """Read masks and PET of a case.

    Args:
        case: Its files.
        resample_prediction: Bring a prediction of equal spacing onto the reference's grid by nearest neighbour, as
            HECKTOR does; else another grid is an error.
        labels: Values that masks may have; None for any whole number.

    Raises:
        UserError: If a file cannot be read, a mask has other values, or grids differ.
    """
    reference = _read_mask(case.reference, labels)
    suv = None
    if case.pet is not None:
        pet = read_image(case.pet)
        _require_grid(case.pet, pet, case.reference, reference, "Bring the PET onto the masks' grid (linear).")
        suv = SimpleITK.GetArrayFromImage(pet)
    reference_array = SimpleITK.GetArrayFromImage(reference)
    if case.prediction is None:
        prediction_array = np.zeros_like(reference_array)
    else:
        prediction = _read_mask(case.prediction, labels)
        if resample_prediction:
            prediction = _onto_grid(case.prediction, prediction, case.reference, reference)
        else:
            remedy = "Bring the prediction onto the reference's grid first (nearest neighbour): these metrics do not."
            _require_grid(case.prediction, prediction, case.reference, reference, remedy)
        prediction_array = SimpleITK.GetArrayFromImage(prediction)
    return CaseArrays(reference_array, prediction_array, reference.GetSpacing()[::-1], suv)


def _read_mask(file: Path, labels: tuple[int, ...] | None) -> SimpleITK.Image:
    mask = read_image(file)
    array = SimpleITK.GetArrayViewFromImage(mask)
    if array.dtype.kind == "f":
        fractional = array[array != np.trunc(array)]  # NaN is one as well
        if fractional.size:
            raise UserError(f"{file} has the value {fractional[0]:g}: a mask of whole numbers is expected.")
    if labels is not None:
        unexpected = np.setdiff1d(array, labels)
        if unexpected.size:
            raise UserError(f"{file} has label {unexpected[0]:g}: only {', '.join(map(str, labels))} are defined.")
    return mask


def _require_grid(file: Path, image: SimpleITK.Image, other_file: Path, other: SimpleITK.Image, remedy: str) -> None:
    if not _same_grid(image, other):
        here, there = Grid.of(image).describe(), Grid.of(other).describe()
        raise UserError(f"{file} ({here}) is not on the grid of {other_file} ({there}). {remedy}")


def _same_grid(image: SimpleITK.Image, other: SimpleITK.Image) -> bool:
    if image.GetSize() != other.GetSize():
        return False
    corners = np.array(list(itertools.product(*((0, size - 1) for size in other.GetSize()))))
    apart_voxels = np.abs(Grid.of(image).to_index(Grid.of(other).to_mm(corners)) - corners)
    return bool(apart_voxels.max() < SAME_GRID_VOXELS)


def _onto_grid(file: Path, image: SimpleITK.Image, reference_file: Path, reference: SimpleITK.Image) -> SimpleITK.Image:
    """As HECKTOR's code does it: equal spacing is demanded, then the prediction is resampled."""
    if not np.allclose(image.GetSpacing(), reference.GetSpacing(), rtol=0, atol=HECKTOR_SPACING_MM):
        raise UserError(
            f"{file} has a spacing of {image.GetSpacing()} mm, {reference_file} of {reference.GetSpacing()} mm: "
            "HECKTOR demands equal spacing. Resample the prediction to the reference's (nearest neighbour)."
        )
    return SimpleITK.Resample(image, reference, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor, 0)
