"""SUVpeak: the mean uptake of a sphere of 1 ml, placed where it is highest."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve

SPHERE_ML = 1.0
SUBDIVISION = 5
"""Parts per axis into which a voxel is cut to tell how much of it lies in the sphere."""


def suv_peak(suv: NDArray, mask: NDArray, spacing_mm: Sequence[float]) -> float:
    """Return SUVpeak of a lesion: the largest mean over a 1 ml sphere whose center is a voxel of the lesion.

    Voxels on the sphere's border count by the share that lies inside. Outside the image nothing is measured: the
    sphere's mean is that of its part inside.

    Args:
        suv: PET in SUV, 3D.
        mask: The lesion, same shape, at least one voxel.
        spacing_mm: Voxel sizes in the order of the arrays' axes.

    Reference:
        Wahl et al., PERCIST 1.0, J Nucl Med 2009; 50 Suppl 1: 122S-150S.
    """
    weights = _sphere(spacing_mm)
    margin = np.array(weights.shape) // 2
    inside = np.argwhere(mask)
    low, high = np.maximum(inside.min(axis=0) - margin, 0), inside.max(axis=0) + margin + 1
    box = tuple(slice(int(start), int(stop)) for start, stop in zip(low, high, strict=True))
    values = np.asarray(suv[box], np.float64)
    covered = convolve(np.ones_like(values), weights, mode="constant")
    means = convolve(values, weights, mode="constant") / covered
    return float(means[np.asarray(mask[box], bool)].max())


def _sphere(spacing_mm: Sequence[float]) -> NDArray[np.float64]:
    """Share of every voxel around the center that lies in the sphere; odd extents."""
    radius_mm = (3 * SPHERE_ML * 1000 / (4 * math.pi)) ** (1 / 3)
    steps = (np.arange(SUBDIVISION) + 0.5) / SUBDIVISION - 0.5
    axes = []
    for size in spacing_mm:
        reach = math.ceil(radius_mm / size + 0.5) - 1
        axes.append(((np.arange(-reach, reach + 1)[:, None] + steps) * size).ravel() ** 2)
    z, y, x = axes
    fine = (z[:, None, None] + y[:, None] + x) <= radius_mm**2
    shape = [part for axis in axes for part in (len(axis) // SUBDIVISION, SUBDIVISION)]
    return fine.reshape(shape).mean(axis=(1, 3, 5))
