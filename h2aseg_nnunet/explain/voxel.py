"""The voxel whose reading is shown: the user's, or the middle of the largest predicted lesion."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from SimpleITK import Image

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.images.lesions import label_components, lesions
from h2aseg_nnunet.petct.images.orientation import spacing_zyx_mm


class Voxel(NamedTuple):
    """A voxel of the input, and why this one.

    Attributes:
        index_xyz: In the file, from 0.
        point_mm: Of its centre, in the coordinates of ITK (x to the left, y to the back, z to the head).
        chosen: In words.
    """

    index_xyz: tuple[int, int, int]
    point_mm: tuple[float, float, float]
    chosen: str


def given_voxel(
    image: Image, index_xyz: Sequence[int] | None = None, point_mm: Sequence[float] | None = None
) -> Voxel | None:
    """The user's voxel, as an index or as a point; None if neither is given.

    Raises:
        UserError: If it lies outside the image, or both are given.
    """
    if index_xyz is not None and point_mm is not None:
        raise UserError("Give --voxel or --point, not both.")
    if index_xyz is not None:
        return _made(image, index_xyz, "given as --voxel")
    if point_mm is not None:
        return _made(image, image.TransformPhysicalPointToIndex([float(mm) for mm in point_mm]), "given as --point")
    return None


def default_voxel(image: Image, tumor: NDArray[np.bool_], probabilities: NDArray, inside: NDArray[np.bool_]) -> Voxel:
    """The middle of the largest predicted lesion, or the most probable voxel where no tumour is predicted.

    Args:
        image: Of the case.
        tumor: Predicted, (z, y, x).
        probabilities: Of tumour, (z, y, x).
        inside: What the network saw, (z, y, x).
    """
    if tumor.any():
        return _made(image, _middle_of_largest(tumor, spacing_zyx_mm(image))[::-1], "middle of the largest lesion")
    seen = np.where(inside, probabilities, -1)
    most = np.unravel_index(seen.argmax(), seen.shape)
    return _made(image, most[::-1], "most probable, for no tumour is predicted")


def _middle_of_largest(mask: NDArray, spacing_mm: Sequence[float]) -> NDArray:
    """The voxel farthest from the border of the largest lesion: inside it, whatever its shape."""
    largest = max(lesions(mask, spacing_mm), key=lambda lesion: lesion.volume_ml)
    labels, _ = label_components(mask)
    inside = np.pad(labels[largest.bounding_box] == largest.label, 1)
    depth_mm = ndimage.distance_transform_edt(inside, sampling=spacing_mm)
    deepest = np.array(np.unravel_index(depth_mm.argmax(), depth_mm.shape)) - 1
    return deepest + [part.start for part in largest.bounding_box]


def _made(image: Image, index_xyz: Sequence[int], chosen: str) -> Voxel:
    index = tuple(int(i) for i in index_xyz)
    if not all(0 <= i < size for i, size in zip(index, image.GetSize(), strict=True)):
        size = " x ".join(map(str, image.GetSize()))
        raise UserError(f"The voxel {chosen}, {index}, lies outside the image of {size} voxels.")
    return Voxel(index, image.TransformIndexToPhysicalPoint(index), chosen)
