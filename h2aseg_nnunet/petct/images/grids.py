"""Voxel grids in ITK's physical space: comparing, cropping, resampling. Axes are x, y, z as in SimpleITK."""

import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK

from h2aseg_nnunet.errors import UserError

SAME_PLACE_VOXELS = 0.05
"""Positions closer than this share of a voxel on every axis are the same: headers are rounded, so grids that agree
differ a little. At 4 mm voxels it is 0.2 mm. This is the only tolerance of grids in the package."""

EPSILON = 1e-6
"""Tolerance of voxel indices, against rounding errors of our own."""

Index = tuple[int, int, int]
Box = tuple[float, float, float, float, float, float]
"""x1, y1, z1, x2, y2, z2 in mm, in ITK's physical space."""


class Grid(NamedTuple):
    """Where the voxels of an image are.

    `direction` is the 3 x 3 matrix, row by row, whose columns are the axes' directions: flipped and oblique ones too.
    """

    size: Index
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    direction: tuple[float, ...]

    @classmethod
    def of(cls, image: SimpleITK.Image) -> "Grid":
        """Return the grid of an image."""
        return cls(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())

    def describe(self) -> str:
        """Size, spacing, position and axes, short enough for a message."""
        size = " x ".join(map(str, self.size))
        spacing = " x ".join(f"{mm:.4g}" for mm in self.spacing_mm)
        origin = ", ".join(f"{mm:.4g}" for mm in self.origin_mm)
        return f"{size} voxels of {spacing} mm from ({origin}), axes {self.axes}"

    @property
    def axes(self) -> str:
        """Where the three axes run to, in DICOM's letters: LPS is to the patient's left, back and head."""
        return str(SimpleITK.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(self.direction))

    @property
    def axes_mm(self) -> np.ndarray:
        """Matrix (3, 3) whose columns are the steps to the next voxel."""
        return np.reshape(self.direction, (3, 3)) * self.spacing_mm

    def to_mm(self, index: np.ndarray) -> np.ndarray:
        """Physical points (..., 3) of continuous indices (..., 3)."""
        return self.origin_mm + index @ self.axes_mm.T

    def to_index(self, point_mm: np.ndarray) -> np.ndarray:
        """Continuous indices (..., 3) of physical points (..., 3)."""
        return (point_mm - np.array(self.origin_mm)) @ np.linalg.inv(self.axes_mm).T

    def crop(self, start: Index, size: Index) -> "Grid":
        """Return the grid of a box of voxels, from index `start` on."""
        return self._replace(size=size, origin_mm=tuple(self.to_mm(np.array(start)).tolist()))

    def respaced(self, spacing_mm: tuple[float, float, float]) -> "Grid":
        """The grid of another spacing in the same box, from the corner of its first voxel; no voxel leaves the box."""
        ratio = np.divide(spacing_mm, self.spacing_mm)
        size = np.maximum(1, np.floor(self.size / ratio + EPSILON)).astype(int)
        origin = self.to_mm((ratio - 1) / 2)  # center of the new first voxel
        return Grid(tuple(size.tolist()), spacing_mm, tuple(origin.tolist()), self.direction)

    def start_of(self, other: "Grid") -> Index | None:
        """Index at which `other` starts if each of its voxels is one of this grid's, up to rounding; else None."""
        corners = corners_of(other.size)
        here = self.to_index(other.to_mm(corners))
        start = np.rint(here[0])
        same = np.abs(here - (start + corners)).max() < SAME_PLACE_VOXELS
        inside = start.min() >= 0 and (start + other.size <= self.size).all()
        return tuple(start.astype(int).tolist()) if same and inside else None

    def has_header_of(self, other: "Grid") -> bool:
        """Whether nnU-Net, which compares with numpy.allclose, takes the two headers for the same."""
        return self.size == other.size and all(np.allclose(a, b) for a, b in zip(self[1:], other[1:], strict=True))


def corners_of(size: Index) -> np.ndarray:
    """Indices (8, 3) of the corner voxels, the first voxel first."""
    return np.array(list(itertools.product(*((0, voxels - 1) for voxels in size))))


class Apart(NamedTuple):
    """The largest distance between voxels of equal index in two grids of one size: along one axis of the first in
    voxels, and in mm.
    """

    voxels: float
    mm: float


def distance_apart(grid: Grid, other: Grid) -> Apart:
    """Measure how far apart voxels of equal index lie in two grids of one size: it is most at a corner."""
    corners = corners_of(grid.size)
    voxels = np.abs(grid.to_index(other.to_mm(corners)) - corners).max()
    mm = np.linalg.norm(grid.to_mm(corners) - other.to_mm(corners), axis=1).max()
    return Apart(float(voxels), float(mm))


def same_grid(grid: Grid, other: Grid) -> bool:
    """Whether voxels of equal index are the same place, up to rounded headers (`SAME_PLACE_VOXELS`)."""
    return grid.size == other.size and distance_apart(grid, other).voxels < SAME_PLACE_VOXELS


def require_same_grid(
    file: Path, image: SimpleITK.Image, other_file: Path, other: SimpleITK.Image, remedy: str
) -> None:
    """Make sure that two images lie on one grid.

    Raises:
        UserError: If not; the message says how they differ, then the remedy.
    """
    here, there = Grid.of(image), Grid.of(other)
    if same_grid(here, there):
        return
    if here.size == there.size:
        apart = distance_apart(there, here)
        turned = "" if here.axes == there.axes else f"axes {here.axes} against {there.axes}, "
        how = f"{turned}voxels of equal index lie up to {apart.mm:.3g} mm ({apart.voxels:.2g} voxels) apart"
    else:
        how = f"{here.describe()} against {there.describe()}"
    raise UserError(f"{file} is not on the grid of {other_file}: {how}. {remedy}")


def ones_on(grid: Grid) -> SimpleITK.Image:
    """Return an image of ones."""
    image = SimpleITK.Image(grid.size, SimpleITK.sitkUInt8) + 1
    return with_grid(image, grid)


def with_grid(image: SimpleITK.Image, grid: Grid) -> SimpleITK.Image:
    """The same voxels under the header of `grid`."""
    image = SimpleITK.Image(image)
    image.SetSpacing(grid.spacing_mm)
    image.SetOrigin(grid.origin_mm)
    image.SetDirection(grid.direction)
    return image


def resample(image: SimpleITK.Image, grid: Grid, linear: bool) -> SimpleITK.Image:
    """The image on another grid by physical position, 0 outside its field of view.

    Linear interpolation gives single precision, nearest neighbor keeps the voxel type.
    """
    interpolator = SimpleITK.sitkLinear if linear else SimpleITK.sitkNearestNeighbor
    voxel_type = SimpleITK.sitkFloat32 if linear else image.GetPixelID()
    position = (grid.origin_mm, grid.spacing_mm, grid.direction)
    return SimpleITK.Resample(image, grid.size, SimpleITK.Transform(), interpolator, *position, 0.0, voxel_type)


def bring_onto(image: SimpleITK.Image, grid: Grid, linear: bool) -> tuple[SimpleITK.Image, str]:
    """The image on `grid`, and how: "unchanged" and "cropped" keep every voxel value, "resampled" interpolates."""
    own = Grid.of(image)
    start = own.start_of(grid)
    if start is None:
        return resample(image, grid, linear), "resampled"
    if own.size == grid.size:
        return image if own == grid else with_grid(image, grid), "unchanged"
    return with_grid(SimpleITK.RegionOfInterest(image, grid.size, start), grid), "cropped"


def onto_one_grid(ct: SimpleITK.Image, pet: SimpleITK.Image, grid: str) -> tuple[SimpleITK.Image, SimpleITK.Image]:
    """CT and PET on one grid: "pet" or "ct", or cubes of a number of mm, as far as both images go."""
    base, cover = (pet, ct) if grid == "pet" else (ct, pet)
    target = Grid.of(base)
    if grid not in ("pet", "ct"):
        target = target.respaced((float(grid),) * 3)
    target = crop_to_covered(target, cover)
    return bring_onto(ct, target, linear=True)[0], bring_onto(pet, target, linear=True)[0]


def crop_to_covered(grid: Grid, image: SimpleITK.Image, box_mm: Box | None = None) -> Grid:
    """The smallest box of `grid` with all its voxels whose centers lie within `image`, and within `box_mm` if given.

    Raises:
        UserError: If there is no such voxel.
    """
    first, last = _covered_range(grid, Grid.of(image))
    if box_mm is not None:
        corners = grid.to_index(np.array(list(itertools.product(*zip(box_mm[:3], box_mm[3:], strict=True)))))
        first = np.maximum(first, np.ceil(corners.min(axis=0) - EPSILON)).astype(int)
        last = np.minimum(last, np.floor(corners.max(axis=0) + EPSILON)).astype(int)
        if (last < first).any():
            raise UserError(f"The bounding box {box_mm} mm lies outside the region that CT and PET cover.")
    return grid.crop(tuple(first.tolist()), tuple((last - first + 1).tolist()))


def _covered_range(grid: Grid, cover: Grid) -> tuple[np.ndarray, np.ndarray]:
    """First and last index of `grid`, per axis, that some voxel center inside `cover` has."""
    if cover.start_of(grid) is not None:  # spares a pass over the voxels
        return np.zeros(3, dtype=int), np.array(grid.size) - 1
    mask = resample(ones_on(cover), grid, linear=False)
    covered = SimpleITK.GetArrayViewFromImage(mask).transpose()  # x, y, z
    indices = [np.flatnonzero(covered.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    if not indices[0].size:
        raise UserError("The fields of view of CT and PET do not overlap.")
    first, last = np.array([(index[0], index[-1]) for index in indices]).T
    return first, last
