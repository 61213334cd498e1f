"""Distances between surfaces, computed by MONAI.

MONAI: in active development, spacing in every surface metric, needs numpy and torch only. DeepMind's surface-distance
on the package index is of 2022 and uses names that NumPy has removed; ITK's Hausdorff filter has no percentile.
"""

import math
import multiprocessing
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.images.lesions import check_grid


def hd95_mm(reference: NDArray, prediction: NDArray, spacing_mm: Sequence[float]) -> float:
    """Return the 95th percentile of the distances between both surfaces, the larger of the two directions.

    A surface is the centers of the mask's outermost voxels. NaN if either mask is empty: no distance exists.

    Args:
        reference: Mask in 2D or 3D.
        prediction: Mask on the same grid.
        spacing_mm: Size of the voxels in the order of the arrays' axes.

    Raises:
        ValueError: If the masks differ in shape, or spacing_mm has another number of axes.
        UserError: If MONAI is not installed.
    """
    check_grid(reference, spacing_mm, prediction=prediction)
    if not (np.any(reference) and np.any(prediction)):
        return math.nan
    return _call("compute_hausdorff_distance", reference, prediction, spacing_mm, percentile=95)


def normalized_surface_dice(
    reference: NDArray, prediction: NDArray, spacing_mm: Sequence[float], tolerance_mm: float
) -> float:
    """Return the share of both surfaces that lies within the tolerance of the other one.

    Surfaces are triangulated and weighted by area (Nikolov et al., arXiv:1809.04430). NaN if both masks are empty, 0
    if one of them is.

    Args:
        reference: Mask in 2D or 3D.
        prediction: Mask on the same grid.
        spacing_mm: Size of the voxels in the order of the arrays' axes.
        tolerance_mm: Largest distance that counts as agreement.

    Raises:
        ValueError: If the masks differ in shape, spacing_mm has another number of axes, or the tolerance is negative.
        UserError: If MONAI is not installed.
    """
    check_grid(reference, spacing_mm, prediction=prediction)
    if not 0 <= tolerance_mm < math.inf:
        raise ValueError(f"tolerance_mm must be 0 or more, not {tolerance_mm:g}.")
    if not (np.any(reference) and np.any(prediction)):
        return 0.0 if np.any(reference) or np.any(prediction) else math.nan
    return _call(
        "compute_surface_dice",
        reference,
        prediction,
        spacing_mm,
        class_thresholds=[float(tolerance_mm)],
        use_subvoxels=True,
    )


def require_monai() -> None:
    """Make sure that MONAI is installed, without the seconds that importing it takes.

    Raises:
        UserError: If not; the message says how to install it.
    """
    if find_spec("monai") is None:
        raise UserError("surface metrics need MONAI: pip install 'h2aseg_nnunet[surface]', or pip install monai.")


def _call(metric: str, reference: NDArray, prediction: NDArray, spacing_mm: Sequence[float], **options: Any) -> float:
    """Compute one of MONAI's metrics of two masks that are not empty."""
    require_monai()
    import torch  # here, since it takes seconds to import, as MONAI does

    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(1)  # other processes use the other cores
    spacing = [float(mm) for mm in spacing_mm]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI about its own code
        import monai.metrics

        function = getattr(monai.metrics, metric)
        value = function(*_to_monai(reference, prediction), include_background=True, spacing=spacing, **options)
    return float(value)


def _to_monai(reference: NDArray, prediction: NDArray) -> list:
    """Make (1, 1, ...) tensors of prediction and reference, cropped to what either contains and a voxel around."""
    import torch

    reference, prediction = np.asarray(reference) != 0, np.asarray(prediction) != 0
    either = np.pad(reference | prediction, 1)
    box = []
    for axis in range(either.ndim):
        occupied = np.flatnonzero(either.any(axis=tuple(set(range(either.ndim)) - {axis})))
        box.append(slice(occupied[0] - 1, occupied[-1] + 2))
    return [torch.from_numpy(np.pad(mask, 1)[tuple(box)])[None, None].float() for mask in (prediction, reference)]
