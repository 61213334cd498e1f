"""Whole volumes on a grid of about 4 mm, axial slices first: enough to compare bodies, and fast."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from h2aseg_nnunet.petct.images.grids import Grid

SPACING_MM = 4.0  # of the coarse grid, roughly: finer than PET resolves
SOLID_HU = -500.0  # halfway between air and tissue: the surface, whatever the blur


class Pair(NamedTuple):
    """CT in HU and PET in SUV on one grid, axes: axial, then the two in its plane; label is the share of lesion."""

    ct: NDArray[np.float32]
    pet: NDArray[np.float32]
    label: NDArray[np.float32] | None
    spacing_mm: NDArray[np.float64]

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel."""
        return float(np.prod(self.spacing_mm)) / 1000


def coarse_pair(ct: NDArray, pet: NDArray, lesion: NDArray[np.bool_] | None, grid: Grid) -> Pair:
    """Mean over blocks of voxels; borders that do not fill a block are left out.

    Args:
        ct: CT in HU, axes (z, y, x) as SimpleITK gives arrays.
        pet: PET in SUV, same shape as ct.
        lesion: Lesion mask, same shape, or None.
        grid: Voxel grid of all three.
    """
    axial = axial_axis(grid)
    spacing_mm = np.array(grid.spacing_mm)[::-1]
    order = [axial, *(axis for axis in range(3) if axis != axial)]
    factors = np.maximum(1, np.rint(SPACING_MM / spacing_mm).astype(int))
    factors = np.minimum(factors, ct.shape)[order]
    volumes = [None if v is None else block_means(v.transpose(order), factors) for v in (ct, pet, lesion)]
    assert volumes[0] is not None and volumes[1] is not None
    return Pair(volumes[0], volumes[1], volumes[2], spacing_mm[order] * factors)


def axial_axis(grid: Grid) -> int:
    """The array's axis along which the patient's height changes most: axial slices are those across it."""
    return 2 - int(np.abs(np.reshape(grid.direction, (3, 3))[2]).argmax())


def block_means(volume: NDArray, factors: NDArray[np.int_]) -> NDArray[np.float32]:
    """Means over blocks of `factors` voxels; a constant region stays exactly constant."""
    whole = volume[tuple(slice(0, n // f * f) for n, f in zip(volume.shape, factors, strict=True))]
    blocks = [part for n, f in zip(whole.shape, factors, strict=True) for part in (n // f, f)]
    return whole.reshape(blocks).mean(axis=(1, 3, 5), dtype=np.float32)


def inside_body(ct: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Everything solid, and what it encloses within an axial slice: lungs, bowel gas, airways."""
    return np.stack([ndimage.binary_fill_holes(axial) for axial in ct > SOLID_HU])


def depth_mm(region: NDArray[np.bool_], spacing_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each voxel of `region` to the nearest voxel outside of it; 0 outside."""
    if region.all():
        return np.full(region.shape, np.inf)
    return ndimage.distance_transform_edt(region, sampling=spacing_mm)
