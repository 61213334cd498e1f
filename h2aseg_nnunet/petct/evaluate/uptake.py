"""How much tumor there is, and how active it is."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.petct.images.lesions import check_grid, label_components, lesions, voxel_volume_ml
from h2aseg_nnunet.petct.images.peak import suv_peak

PEAK_REACH_MM = 8.0
"""More than the radius of SUVpeak's sphere."""


class TumorBurden(NamedTuple):
    """Whole-body figures of one mask.

    Attributes:
        tmtv_ml: Total metabolic tumor volume.
        tlg: Total lesion glycolysis, ml x SUV.
        suv_max: Highest SUV in the mask; NaN if it is empty.
        suv_mean: Mean SUV in the mask; NaN if it is empty.
    """

    tmtv_ml: float
    tlg: float
    suv_max: float
    suv_mean: float


def tumor_burden(mask: NDArray, suv: NDArray, spacing_mm: Sequence[float]) -> TumorBurden:
    """Measure volume and uptake of everything in a mask; an empty one has volume 0, glycolysis 0 and no SUV.

    Args:
        mask: Mask in 2D or 3D; every value but 0 is tumor.
        suv: PET in SUV on the same grid.
        spacing_mm: Size of the voxels in the order of the arrays' axes.

    Raises:
        ValueError: If the arrays differ in shape, spacing_mm has another number of axes, or the PET is not finite
            inside the mask.
    """
    check_grid(mask, spacing_mm, suv=suv)
    uptake = np.asarray(suv)[np.asarray(mask) != 0].astype(np.float64)
    broken = np.count_nonzero(~np.isfinite(uptake))
    if broken:
        raise ValueError(f"{broken} voxels inside a mask are no number (NaN or infinite) in the PET.")
    voxel_ml = voxel_volume_ml(spacing_mm)
    suv_max, suv_mean = (float(uptake.max()), float(uptake.mean())) if uptake.size else (math.nan, math.nan)
    return TumorBurden(uptake.size * voxel_ml, float(uptake.sum()) * voxel_ml, suv_max, suv_mean)


def volume_above_suv_ml(mask: NDArray, suv: NDArray, spacing_mm: Sequence[float], threshold: float) -> float:
    """Return the volume of the part of a mask whose SUV is the threshold or more; NaN without a threshold."""
    if math.isnan(threshold):
        return math.nan
    return np.count_nonzero(suv[mask] >= threshold) * voxel_volume_ml(spacing_mm)


def volume_above_share_ml(mask: NDArray, suv: NDArray, spacing_mm: Sequence[float], share: float) -> float:
    """Return the volume of the part of a mask whose SUV is at least a share of its lesion's SUVmax."""
    labels, count = label_components(mask)
    label_of_voxel, uptake = labels[mask], suv[mask]
    highest = np.full(count + 1, -np.inf)
    np.maximum.at(highest, label_of_voxel, uptake)
    return np.count_nonzero(uptake >= share * highest[label_of_voxel]) * voxel_volume_ml(spacing_mm)


def highest_peak(mask: NDArray, suv: NDArray, spacing_mm: Sequence[float]) -> float:
    """Return the highest SUVpeak of a mask's lesions; NaN if there is none. See `suv_peak`."""
    labels, _ = label_components(mask)
    margins = [math.ceil(PEAK_REACH_MM / size) + 1 for size in spacing_mm]
    peaks = []
    for lesion in lesions(mask, spacing_mm):
        sides = zip(lesion.bounding_box, margins, strict=True)
        around = tuple(slice(max(0, side.start - margin), side.stop + margin) for side, margin in sides)
        peaks.append(suv_peak(suv[around], labels[around] == lesion.label, spacing_mm))
    return max(peaks, default=math.nan)
