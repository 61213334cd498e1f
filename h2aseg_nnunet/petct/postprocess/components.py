"""Lesions of an outline, and what rules ask of them."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.petct.images.lesions import label_components, voxel_volume_ml
from h2aseg_nnunet.petct.images.peak import sphere_means
from h2aseg_nnunet.petct.postprocess.regions import Region


class Components(NamedTuple):
    """The lesions of one outline in one region.

    Attributes:
        labels: Their numbers from 1 on, 0 in the background, in the region's box.
        voxels: Number of voxels of each.
        features: By name, a value of each; see `FEATURES` in rules.py.
    """

    labels: NDArray
    voxels: NDArray
    features: dict[str, NDArray]


def peaks_within(region: Region, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean of a 1 ml sphere around each voxel of a mask, in the region's box; -inf elsewhere."""
    assert region.case.suv is not None
    peaks = np.full(mask.shape, -np.inf)
    if mask.any():
        whole = _with_margin(region)
        centers = np.zeros(tuple(side.stop - side.start for side in whole), bool)
        inner = tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(region.box, whole, strict=True))
        centers[inner] = mask
        peaks[mask] = sphere_means(region.case.suv[whole], centers, region.case.spacing_mm)
    return peaks


def measure(
    region: Region, mask: NDArray[np.bool_], wanted: Collection[str], peaks: NDArray | None = None
) -> Components:
    """Number the lesions of an outline and measure them.

    Args:
        region: The region.
        mask: The outline in it.
        wanted: Names of features; those of images that the case lacks must not be among them.
        peaks: `peaks_within` the region of a mask that includes this one, which is computed if need be.
    """
    labels, count = label_components(mask)
    label_of_voxel = labels[mask] - 1
    voxels = np.bincount(label_of_voxel, minlength=count)
    features: dict[str, NDArray] = {}
    if "volume_ml" in wanted:
        features["volume_ml"] = voxels * voxel_volume_ml(region.case.spacing_mm)
    if "suv_max" in wanted:
        features["suv_max"] = _highest(region.suv[mask], label_of_voxel, count)
    if "suv_peak" in wanted:
        peaks = peaks_within(region, mask) if peaks is None else peaks
        features["suv_peak"] = _highest(peaks[mask], label_of_voxel, count)
    if "mean_probability" in wanted:
        sums = np.bincount(label_of_voxel, region.probability[mask].astype(np.float64), minlength=count)
        features["mean_probability"] = sums / voxels
    return Components(labels, voxels, features)


def _highest(values: NDArray, label_of_voxel: NDArray, count: int) -> NDArray[np.float64]:
    highest = np.full(count, -np.inf)
    np.maximum.at(highest, label_of_voxel, values)
    return highest


def _with_margin(region: Region) -> tuple[slice, ...]:
    """The region's box and what SUVpeak's sphere may reach around it, as far as the image goes."""
    reach_mm = 10.0  # more than the sphere's radius of 6.2 mm
    sides = zip(region.box, region.case.spacing_mm, region.case.mask.shape, strict=True)
    return tuple(
        slice(max(0, side.start - int(reach_mm / mm) - 1), min(size, side.stop + int(reach_mm / mm) + 1))
        for side, mm, size in sides
    )
