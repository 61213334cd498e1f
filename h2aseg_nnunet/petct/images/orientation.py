"""Images and arrays: turned so that array axes are the patient's axes, and put on another image's grid."""

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from SimpleITK import Image

from h2aseg_nnunet.petct.images.grids import Grid

ALIGNED = 1e-4
"""Largest deviation of a direction cosine for which an image counts as axis-aligned: 0.1 mm over a meter."""

LPS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
"""Direction of an image whose axes run to the patient's left, back and head."""


def to_patient_axes(image: Image, outside: float = 0, labels: bool = False) -> Image:
    """Turn an image so that its axes run to the patient's left, back and head, ready for projections and cuts.

    Axis-aligned images, flipped or permuted, only change the order of their voxels. Oblique ones are resampled onto
    the smallest axis-aligned grid of the same spacing that holds them.

    Args:
        image: A volume in any orientation.
        outside: Value of the voxels that the image does not reach.
        labels: Whether to resample oblique images by nearest neighbor instead of linearly.
    """
    image = SimpleITK.DICOMOrient(image, "LPS")
    if np.abs(np.subtract(image.GetDirection(), LPS)).max() <= ALIGNED:
        image.SetDirection(LPS)
        return image
    last = np.array(image.GetSize()) - 1
    corners_mm = Grid.of(image).to_mm(np.array(list(np.ndindex(2, 2, 2))) * last)
    low, high = corners_mm.min(axis=0), corners_mm.max(axis=0)
    size = np.ceil((high - low) / image.GetSpacing() - 1e-6).astype(int) + 1
    how = SimpleITK.sitkNearestNeighbor if labels else SimpleITK.sitkLinear
    grid = (size.tolist(), SimpleITK.Transform(), how, low.tolist(), image.GetSpacing(), LPS)
    return SimpleITK.Resample(image, *grid, outside, image.GetPixelID())


def like(array: NDArray, image: Image) -> Image:
    """Make an image of an array (z, y, x), on another image's grid."""
    made = SimpleITK.GetImageFromArray(array)
    made.CopyInformation(image)
    return made


def finite_array(image: Image) -> NDArray:
    """Return voxels (z, y, x); those that are no number count as zero, since one would spoil a projection."""
    array = SimpleITK.GetArrayFromImage(image)
    if array.dtype.kind == "f" and not np.isfinite(array.sum()):
        np.nan_to_num(array, copy=False, posinf=0, neginf=0)
    return array


def spacing_zyx_mm(image: Image) -> tuple[float, float, float]:
    """Return the spacing in the order of the array's axes."""
    x, y, z = image.GetSpacing()
    return z, y, x
