"""Synthetic PET/CT: patients painted tissue by tissue, and the one writer of images. Axes of arrays are z, y, x."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import SimpleITK
from numpy.typing import ArrayLike, NDArray

AIR_HU = -1000.0


class Tissue(NamedTuple):
    """Voxels with one value in each image.

    Attributes:
        where: Mask, or index, of the voxels.
        hu: Value in CT.
        suv: Value in PET.
        label: Value in the mask.
    """

    where: Any
    hu: float
    suv: float
    label: int = 0


class Patient(NamedTuple):
    """CT in HU, PET in SUV and mask, on one grid."""

    ct: NDArray[np.float32]
    pet: NDArray[np.float32]
    label: NDArray[np.uint8]


def paint(shape: Sequence[int], *tissues: Tissue, background_suv: float = 0.0) -> Patient:
    """Paint tissues into air, one over the other, the last on top."""
    patient = Patient(
        ct=np.full(shape, AIR_HU, np.float32),
        pet=np.full(shape, background_suv, np.float32),
        label=np.zeros(shape, np.uint8),
    )
    for tissue in tissues:
        patient.ct[tissue.where], patient.pet[tissue.where] = tissue.hu, tissue.suv
        patient.label[tissue.where] = tissue.label
    return patient


def ball(shape: Sequence[int], center: Sequence[float], radius: float) -> NDArray[np.bool_]:
    """Voxels closer to `center` than `radius`, all in voxels."""
    points = np.stack(np.indices(shape), axis=-1)
    return np.linalg.norm(points - np.asarray(center), axis=-1) < radius


def make_image(
    array: ArrayLike,
    spacing_mm: float | Sequence[float] = 1.0,
    origin_mm: float | Sequence[float] = 0.0,
    direction: Sequence[float] | None = None,
) -> SimpleITK.Image:
    """Make an image of an array. Spacing, origin and direction have the order of files: x, y, z."""
    image = SimpleITK.GetImageFromArray(np.asarray(array))
    image.SetSpacing(np.broadcast_to(spacing_mm, image.GetDimension()).astype(float).tolist())
    image.SetOrigin(np.broadcast_to(origin_mm, image.GetDimension()).astype(float).tolist())
    if direction is not None:
        image.SetDirection(direction)
    return image


def write_image(file: Path, array: ArrayLike, *args: Any, **kwargs: Any) -> Path:
    """Write `make_image` of the arguments, in a new folder if need be, and return the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(make_image(array, *args, **kwargs), str(file), useCompression=True)
    return file


def read_array(file: Path) -> NDArray[Any]:
    """Read the voxels of an image."""
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))


def write_case(root: Path, name: str, patient: Patient, split: str = "Tr", **geometry: Any) -> None:
    """Write a case into nnU-Net's folders imagesTr and labelsTr, or those of another split."""
    write_image(root / f"images{split}" / f"{name}_0000.nii.gz", patient.ct, **geometry)
    write_image(root / f"images{split}" / f"{name}_0001.nii.gz", patient.pet, **geometry)
    write_image(root / f"labels{split}" / f"{name}.nii.gz", patient.label, **geometry)


PHANTOM_CENTER_MM = (-10.0, 24.0, 130.0)
"""Center of the tumor of `write_phantom`, in ITK's physical space."""

PHANTOM_RADIUS_MM = 9.0


def write_phantom(folder: Path, carrier: int | None = None, name: str = "case") -> Path:
    """Write CT and PET on an uneven grid, with zeros around that nnU-Net cuts off.

    Voxels of 2 x 2.5 x 3 mm, axes to the left, to the front and to the head.

    Args:
        folder: Where to.
        carrier: The channel that shows the tumor; the other one shows a false ball. None if both show the tumor.
        name: Of the case.

    Returns:
        FOLDER/case, by which commands know the case.
    """
    size, spacing_mm, origin_mm = (26, 22, 18), (2.0, 2.5, 3.0), (-30.0, 50.0, 100.0)
    index = np.stack(np.indices(size[::-1]), axis=-1)[..., ::-1]
    points_mm = np.array(origin_mm) + index * spacing_mm * np.array([1, -1, 1])
    tumor = np.linalg.norm(points_mm - PHANTOM_CENTER_MM, axis=-1) < PHANTOM_RADIUS_MM
    other = np.linalg.norm(points_mm - np.add(PHANTOM_CENTER_MM, (6, -14, -14)), axis=-1) < 7
    rng = np.random.default_rng(1)
    for channel in range(2):
        array = rng.normal(0, 0.2, tumor.shape) + 3.0 * (tumor if carrier in (None, channel) else other)
        array[:, :2] = array[:, :, -3:] = 0
        file = folder / f"{name}_{channel:04d}.nii.gz"
        write_image(file, array.astype(np.float32), spacing_mm, origin_mm, (1, 0, 0, 0, -1, 0, 0, 0, 1))
    return folder / name
