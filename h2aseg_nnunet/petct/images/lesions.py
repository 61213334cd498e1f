"""Lesions: the connected components of a mask, with size, position and uptake."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import cc3d
import numpy as np
from numpy.typing import NDArray

AUTOPET_CONNECTIVITY: Final = 18
"""Voxels that share a face or an edge are one lesion, as in the AutoPET challenges; in 2D, all 8 neighbors. It is the
definition of every lesion in the package: in metrics, checks, reports and explanations."""


class Lesion(NamedTuple):
    """One connected component of a mask.

    Attributes:
        label: Its value in `label_components`.
        volume_ml: Its volume.
        centroid: Mean voxel index, in the order of the array's axes.
        bounding_box: Smallest box around it as slices, in the order of the array's axes.
        touched: Whether one of its voxels belongs to the other mask; False if there is none.
        suv_max: Highest uptake; None without PET.
        suv_mean: Mean uptake; None without PET.
        tlg: Total lesion glycolysis, volume_ml x suv_mean; None without PET.
    """

    label: int
    volume_ml: float
    centroid: tuple[float, ...]
    bounding_box: tuple[slice, ...]
    touched: bool = False
    suv_max: float | None = None
    suv_mean: float | None = None
    tlg: float | None = None


def label_components(mask: NDArray) -> tuple[NDArray, int]:
    """Number the lesions of a mask from 1 on.

    Args:
        mask: 2D or 3D; every value but 0 is lesion.

    Returns:
        Labels of the mask's shape, 0 in the background, and how many lesions there are.
    """
    volume = _as_volume(np.asarray(mask) != 0)
    labels, count = cc3d.connected_components(volume, connectivity=AUTOPET_CONNECTIVITY, return_N=True)
    return labels.reshape(np.shape(mask)), int(count)


def lesions(
    mask: NDArray, spacing_mm: Sequence[float], other: NDArray | None = None, suv: NDArray | None = None
) -> list[Lesion]:
    """Measure every lesion of a mask.

    Args:
        mask: 2D or 3D; every value but 0 is lesion.
        spacing_mm: Size of a voxel along each axis of the array.
        other: A second mask on the same grid: for a reference the prediction, for a prediction the reference.
        suv: PET on the same grid.

    Returns:
        The lesions in the order of their labels; empty for an empty mask.

    Raises:
        ValueError: If the arrays differ in shape, or spacing_mm has another number of axes.
    """
    check_grid(mask, spacing_mm, other=other, suv=suv)
    labels, count = label_components(mask)
    if count == 0:
        return []
    inside = np.asarray(mask) != 0
    label_of_voxel = labels[inside]
    statistics: Any = cc3d.statistics(_as_volume(labels))
    axes = slice(3 - labels.ndim, None)
    volume_ml = statistics["voxel_counts"][1:] * voxel_volume_ml(spacing_mm)
    touched = np.zeros(count + 1, bool)
    if other is not None:
        touched[label_of_voxel[np.asarray(other)[inside] != 0]] = True
    columns = (
        range(1, count + 1),
        volume_ml.tolist(),
        [tuple(centroid[axes].tolist()) for centroid in statistics["centroids"][1:]],
        [box[axes] for box in statistics["bounding_boxes"][1:]],
        touched[1:].tolist(),
    )
    if suv is None:
        return list(map(Lesion, *columns))
    suv_max, suv_mean = _uptake(np.asarray(suv)[inside].astype(np.float64), label_of_voxel, count)
    return list(map(Lesion, *columns, suv_max.tolist(), suv_mean.tolist(), (volume_ml * suv_mean).tolist()))


def _uptake(suv_of_voxel: NDArray, label_of_voxel: NDArray, count: int) -> tuple[NDArray, NDArray]:
    """Highest and mean SUV of each label."""
    suv_max = np.full(count + 1, -np.inf)
    np.maximum.at(suv_max, label_of_voxel, suv_of_voxel)
    suv_mean = np.bincount(label_of_voxel, suv_of_voxel)[1:] / np.bincount(label_of_voxel)[1:]
    return suv_max[1:], suv_mean


def _as_volume(array: NDArray) -> NDArray:
    """A slice as a volume of one slice, which is what cc3d takes."""
    return array.reshape((1,) * (3 - array.ndim) + array.shape)


def voxel_volume_ml(spacing_mm: Sequence[float]) -> float:
    """Return the volume of one voxel; in 2D, of a slice of 1 mm."""
    return float(np.prod(np.asarray(spacing_mm, np.float64)) / 1000)


def check_grid(mask: NDArray, spacing_mm: Sequence[float] | None = None, **others: NDArray | None) -> None:
    """Make sure that all arrays have the mask's shape, and spacing_mm one positive value per axis.

    Raises:
        ValueError: If not; the message names the argument.
    """
    shape = np.shape(mask)
    if spacing_mm is not None and (len(spacing_mm) != len(shape) or not np.all(np.asarray(spacing_mm) > 0)):
        raise ValueError(f"spacing_mm {tuple(spacing_mm)} needs one positive value per axis of an array of {shape}.")
    for name, array in others.items():
        if array is not None and np.shape(array) != shape:
            raise ValueError(f"{name} has shape {np.shape(array)}, not {shape}: both must be on one grid.")
