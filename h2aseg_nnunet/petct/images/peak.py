"""SUVpeak: the mean uptake of a sphere of 1 ml, placed where it is highest."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SPHERE_ML = 1.0
SUBDIVISION = 5
"""Parts per axis into which a voxel is cut to tell how much of it lies in the sphere."""


def suv_peak(suv: NDArray, mask: NDArray, spacing_mm: Sequence[float]) -> float:
    """Return SUVpeak of a lesion: the largest mean over a 1 ml sphere whose center is a voxel of the lesion.

    Args:
        suv: PET in SUV, 3D.
        mask: The lesion, same shape, at least one voxel.
        spacing_mm: Voxel sizes in the order of the arrays' axes.

    Reference:
        Wahl et al., PERCIST 1.0, J Nucl Med 2009; 50 Suppl 1: 122S-150S.
    """
    return float(sphere_means(suv, mask, spacing_mm).max())


def sphere_means(suv: NDArray, centers: NDArray, spacing_mm: Sequence[float]) -> NDArray[np.float64]:
    """Return the mean uptake of a 1 ml sphere around every voxel of a mask, in the order of `suv[mask]`.

    Voxels on the sphere's border count by the share that lies inside. Outside the image nothing is measured: the
    sphere's mean is that of its part inside.

    Args:
        suv: PET in SUV, 3D.
        centers: Mask of the spheres' centers, same shape, at least one voxel.
        spacing_mm: Voxel sizes in the order of the arrays' axes.
    """
    weights = _sphere(spacing_mm)
    margin = np.array(weights.shape) // 2
    inside = np.argwhere(centers)
    low, high = inside.min(axis=0) - margin, inside.max(axis=0) + margin + 1
    beyond = [(max(0, -int(a)), max(0, int(b) - size)) for a, b, size in zip(low, high, np.shape(suv), strict=True)]
    box = tuple(slice(max(0, int(a)), int(b)) for a, b in zip(low, high, strict=True))
    values = np.pad(np.asarray(suv[box], np.float64), beyond)
    positions = np.ravel_multi_index(tuple((inside - low - margin).T), values.shape)  # of the sphere's first corner
    offsets = np.asarray(np.ravel_multi_index(tuple(np.argwhere(weights > 0).T), values.shape))
    shares = weights[weights > 0]
    sums = _weighted(values, positions, offsets, shares)
    if not np.any(beyond):
        return sums / shares.sum()
    return sums / _weighted(np.pad(np.ones_like(suv[box], np.float64), beyond), positions, offsets, shares)


def _weighted(values: NDArray, positions: NDArray, offsets: NDArray, weights: NDArray) -> NDArray[np.float64]:
    """Sum of weighted neighbors of each position; voxels of a mask are few, so a convolution of the box costs more."""
    flat = values.ravel()
    sums = np.zeros(len(positions))
    for offset, weight in zip(offsets.tolist(), weights.tolist(), strict=True):
        sums += weight * flat[positions + offset]
    return sums


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
