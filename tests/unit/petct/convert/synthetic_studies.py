"""Small CT/PET studies whose voxel values tell where they are."""

import itertools
from pathlib import Path

import nibabel
import numpy as np
from scipy.spatial.transform import Rotation

from h2aseg_nnunet.petct.images.grids import Grid
from tests.synthetic import write_image

POINT_MM = np.array([12.0, -34.0, 56.0])
"""Center of the lesion in every synthetic patient, in ITK's physical space."""
RADIUS_MM = 9.0

TILT = Rotation.from_euler("xyz", (12, -20, 7), degrees=True).as_matrix()
DIRECTIONS = {
    "straight": np.eye(3),
    "flipped": np.diag((-1.0, -1.0, 1.0)),
    "left-handed": np.diag((1.0, -1.0, 1.0)),
    "axes exchanged": np.array([(0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)]),
    "oblique": TILT,
    "oblique and flipped": TILT @ np.diag((1.0, 1.0, -1.0)),
}


def grid_around(center_mm, size, spacing_mm, direction=DIRECTIONS["straight"]) -> Grid:
    """The grid of this size whose middle lies at `center_mm`."""
    origin = center_mm - direction @ (np.array(spacing_mm) * (np.array(size) - 1) / 2)
    return Grid(tuple(size), tuple(map(float, spacing_mm)), tuple(origin.tolist()), tuple(direction.ravel().tolist()))


def points_mm(grid: Grid) -> np.ndarray:
    """Physical position of every voxel, shape (z, y, x, 3) as in SimpleITK's arrays."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in grid.size[::-1]), indexing="ij")
    return grid.to_mm(np.stack((x, y, z), axis=-1))


def ramp(position_mm: np.ndarray) -> np.ndarray:
    """Linear in the position, so that linear interpolation meets it exactly and any shift shows."""
    return 50 + position_mm @ (0.3, -0.2, 0.5)


def ball(position_mm: np.ndarray) -> np.ndarray:
    return (np.linalg.norm(position_mm - POINT_MM, axis=-1) < RADIUS_MM).astype(np.uint8)


def write(values: np.ndarray, grid: Grid, file: Path) -> Path:
    return write_image(file, values, grid.spacing_mm, grid.origin_mm, grid.direction)


def write_study(ct: Path, pet: Path, label: Path | None, ct_grid: Grid, pet_grid: Grid, label_grid: Grid | None = None):
    """CT and PET whose values tell their position, and a ball around POINT_MM."""
    write((ramp(points_mm(ct_grid)) - 500).astype(np.float32), ct_grid, ct)
    write(ramp(points_mm(pet_grid)).astype(np.float32), pet_grid, pet)
    if label is not None:
        write(ball(points_mm(label_grid or ct_grid)), label_grid or ct_grid, label)


def read(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels and their positions in ITK's space, (x, y, z) and (x, y, z, 3), by nibabel: independent of SimpleITK."""
    image = nibabel.load(file)
    index = np.stack(np.indices(image.shape), axis=-1)
    ras = nibabel.affines.apply_affine(image.affine, index)
    return np.asarray(image.dataobj), ras * (-1, -1, 1)


def corners(grid: Grid) -> np.ndarray:
    return grid.to_mm(np.array(list(itertools.product(*((0, n - 1) for n in grid.size)))))
