"""How much tumor there is, and how active it is."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.petct.images.lesions import check_grid, voxel_volume_ml


class TumorBurden(NamedTuple):
    """Whole-body figures of one mask.

    Attributes:
        tmtv_ml: Total metabolic tumor volume.
        tlg: Total lesion glycolysis, ml x SUV.
        suv_max: Highest SUV in the mask; NaN if it is empty.
    """

    tmtv_ml: float
    tlg: float
    suv_max: float


def tumor_burden(mask: NDArray, suv: NDArray, spacing_mm: Sequence[float]) -> TumorBurden:
    """Measure volume and uptake of everything in a mask; an empty one has volume 0, glycolysis 0 and no SUVmax.

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
    suv_max = float(uptake.max()) if uptake.size else math.nan
    return TumorBurden(uptake.size * voxel_ml, float(uptake.sum()) * voxel_ml, suv_max)
