"""Metrics on arrays; each states its value when reference or prediction is empty.

Masks are of any type, every value but 0 is tumor; undefined values are NaN.
"""

import math
from collections.abc import Sequence

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from h2aseg_nnunet.petct.images.lesions import check_grid, label_components, voxel_volume_ml

HECKTOR_LABELS = {"GTVp": 1, "GTVn": 2}
"""Primary tumor and involved lymph nodes."""


def dice(reference: NDArray, prediction: NDArray) -> float:
    """Return the overlap of two masks: 0 if disjoint, 1 if equal.

    An empty reference gives NaN, whatever the prediction: such a case tells nothing about overlap, and means over
    cases should leave it out. An empty prediction of a lesion gives 0.

    Raises:
        ValueError: If the masks differ in shape.
    """
    return dice_unguarded(reference, prediction) if np.any(reference) else math.nan


def dice_unguarded(reference: NDArray, prediction: NDArray) -> float:
    """Return the overlap of two masks as AutoPET I and II compute it: NaN only if both are empty.

    Anything predicted without a reference gives 0.

    Raises:
        ValueError: If the masks differ in shape.
    """
    check_grid(reference, prediction=prediction)
    voxels = np.count_nonzero(reference) + np.count_nonzero(prediction)
    return 2 * np.count_nonzero(np.logical_and(reference, prediction)) / voxels if voxels else math.nan


def dice_or_agreement(reference: NDArray, prediction: NDArray) -> float:
    """Return the overlap of two masks, and 1 if both are empty: the value that every patient has.

    Raises:
        ValueError: If the masks differ in shape.
    """
    overlap = dice_unguarded(reference, prediction)
    return 1.0 if math.isnan(overlap) else overlap


def false_positive_volume_ml(reference: NDArray, prediction: NDArray, spacing_mm: Sequence[float]) -> float:
    """Return the volume of predicted lesions that touch no reference voxel.

    Defined for every case: 0 without a prediction; without a reference, the volume of everything predicted.

    Args:
        reference: Mask in 2D or 3D.
        prediction: Mask on the same grid.
        spacing_mm: Size of the voxels in the order of the arrays' axes.

    Raises:
        ValueError: If the masks differ in shape, or spacing_mm has another number of axes.
    """
    return _untouched_volume_ml(prediction, reference, spacing_mm)


def false_negative_volume_ml(reference: NDArray, prediction: NDArray, spacing_mm: Sequence[float]) -> float:
    """Return the volume of reference lesions that touch no predicted voxel; NaN without a reference.

    Arguments and errors as for `false_positive_volume_ml`.
    """
    return false_negative_volume_ml_unguarded(reference, prediction, spacing_mm) if np.any(reference) else math.nan


def false_negative_volume_ml_unguarded(reference: NDArray, prediction: NDArray, spacing_mm: Sequence[float]) -> float:
    """Return the volume of missed lesions as AutoPET I and II compute it: 0 without a reference.

    Arguments and errors as for `false_positive_volume_ml`.
    """
    return _untouched_volume_ml(reference, prediction, spacing_mm)


def _untouched_volume_ml(mask: NDArray, other: NDArray, spacing_mm: Sequence[float]) -> float:
    """Return the volume of the components of `mask` that share no voxel with `other`."""
    check_grid(mask, spacing_mm, other=other)
    labels, count = label_components(mask)
    touched = np.zeros(count + 1, bool)
    touched[labels[np.asarray(other) != 0]] = True
    untouched_voxels = np.count_nonzero(~touched[labels[np.asarray(mask) != 0]])
    return untouched_voxels * voxel_volume_ml(spacing_mm)


def shared_surface(reference: NDArray, prediction: NDArray) -> float:
    """Return the Dice of the masks' outermost voxels, those with a face to the background: DEEP-PSMA's surface Dice.

    Nothing lies beyond the image's border: a mask that ends there has no surface there. NaN if both masks are empty.

    Raises:
        ValueError: If the masks differ in shape.
    """
    check_grid(reference, prediction=prediction)
    images = (SimpleITK.GetImageFromArray(np.not_equal(mask, 0).astype(np.uint8)) for mask in (reference, prediction))
    surfaces = [SimpleITK.GetArrayFromImage(SimpleITK.LabelContour(image, False)) for image in images]
    return dice_unguarded(*surfaces)


def overlap_mm3(
    reference: NDArray, prediction: NDArray, spacing_mm: Sequence[float], label: int
) -> tuple[float, float, float]:
    """Return what `aggregated_dice` adds up, for one label of one patient.

    Returns:
        The volume shared by both, that of the reference, and that of the prediction.

    Raises:
        ValueError: If the arrays differ in shape, or spacing_mm has another number of axes.
    """
    check_grid(reference, spacing_mm, prediction=prediction)
    reference, prediction = np.equal(reference, label), np.equal(prediction, label)
    voxel_mm3 = 1000 * voxel_volume_ml(spacing_mm)
    both, in_reference, in_prediction = map(np.count_nonzero, (reference & prediction, reference, prediction))
    return both * voxel_mm3, in_reference * voxel_mm3, in_prediction * voxel_mm3


def aggregated_dice(overlaps_mm3: NDArray, absent: float = math.nan) -> NDArray:
    """Return the Dice of all patients together, HECKTOR's score for one label.

    A label absent from both masks of a patient changes nothing; predicted where absent, it lowers the score.

    Args:
        overlaps_mm3: `overlap_mm3` of each patient, (..., patients, 3).
        absent: The value if no patient has the label in either mask: NaN in HECKTOR 2022, 1 in HECKTOR 2025.

    Returns:
        2 x sum of shared volumes / sum of both volumes, (...).
    """
    both, reference, prediction = np.moveaxis(np.asarray(overlaps_mm3, np.float64).sum(axis=-2), -1, 0)
    total = reference + prediction
    return np.divide(2 * both, total, out=np.full_like(total, absent), where=total > 0)
