"""The position that a NIfTI header states, or why there is doubt about it.

A NIfTI header may state up to three positions (qform, sform, voxel sizes alone), and programs differ in which they
believe. The rule here is nibabel's: the sform if it has a code, else the qform. A file is refused where another reading
of the same header, or ITK's, would put voxels elsewhere.
"""

from pathlib import Path

import numpy as np
from nibabel import Nifti1Header
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.images.errors import PositionError
from h2aseg_nnunet.petct.images.grids import SAME_PLACE_VOXELS, Grid, Index, corners_of, distance_apart
from h2aseg_nnunet.petct.images.itk import header_grid

GEOMETRY = ("pixdim", *(f"quatern_{n}" for n in "bcd"), *(f"{kind}_{n}" for kind in ("qoffset", "srow") for n in "xyz"))
"""Fields that hold numbers of the geometry."""
MILLIMETERS = (0, 2)
"""Values of the header's unit of length: not stated, and mm."""
QUATERNION_RADIANS = 1.5e-3
"""A qform's rotation is stored in single precision, from which small angles beside a half turn cannot be recovered."""
EXACT_MM = 0.05
"""Grids that differ by less are the same numbers, rounded."""
RIGHT_ANGLE_MM = 0.1
"""How far a corner may be from where it is with axes at right angles."""

SHEARED = "degrees (a CT with gantry tilt, or an affine registration?). Resample it onto an upright grid first."
WRITE_POSITION = (
    "Find out which is right, for instance by looking at the image over its CT, and write it into both: "
    "nibabel's image.set_sform(affine, 1) and image.set_qform(affine, 1)."
)


def stated_position(header: Nifti1Header, shape: Index) -> Grid:
    """Return the grid of the voxels, if the header leaves no doubt.

    Args:
        header: The header.
        shape: Number of voxels (x, y, z).

    Raises:
        PositionError: If it does.
    """
    if not all(np.isfinite(header[name]).all() for name in GEOMETRY):
        raise PositionError("is damaged: its geometry has numbers that are not finite")  # ITK would compute for ever
    if (code := int(header["xyzt_units"]) & 7) not in MILLIMETERS:
        unit = {1: "m", 3: "um"}.get(code, f"{code}, which NIfTI does not know,")
        raise PositionError(
            f"states its lengths in the unit {unit} (xyzt_units), which some programs overlook. Save it in mm."
        )
    sizes_mm = header["pixdim"][1:4].astype(float)
    if sizes_mm.min() <= 0:
        raise PositionError(
            f"has a voxel size of {_numbers(sizes_mm)} mm (pixdim), which must be more than 0: programs replace it "
            "by 1 mm. Correct the header from the original images."
        )
    places = _stated_places(header, shape, sizes_mm)
    if not places:
        raise PositionError(
            "states no position: qform_code and sform_code are 0, and programs place it differently. Convert it again "
            "from its source, or write the position of an image on the same grid into it "
            "(nibabel's image.set_sform(affine, 1))."
        )
    (name, grid), *others = places.items()
    for other_name, other in others:
        if not _agree(grid, other):
            mm = distance_apart(grid, other).mm
            raise PositionError(
                f"has an {name} and {other_name} that place voxels up to {mm:.3g} mm apart. {WRITE_POSITION}"
            )
    return grid


def _stated_places(header: Nifti1Header, shape: Index, sizes_mm: NDArray) -> dict[str, Grid]:
    """Every position that the header states, the one that counts first."""
    places = {}
    if header["sform_code"] > 0:
        places["sform"] = sform = _from_affine(header.get_sform(), shape)
        places["voxel size (pixdim)"] = sform._replace(spacing_mm=tuple(sizes_mm.tolist()))
    if header["qform_code"] > 0:
        header = header.copy()
        header["pixdim"][0] = -1 if header["pixdim"][0] < 0 else 1  # 0 stands for 1
        try:
            places["qform"] = _from_affine(header.get_qform(), shape)
        except (ValueError, HeaderDataError) as error:
            raise PositionError(f"has a qform that is no rotation. {WRITE_POSITION}") from error
    return places


def _from_affine(affine: NDArray, shape: Index) -> Grid:
    """The grid of NIfTI's matrix, whose axes run to the right, front and head.

    Raises:
        PositionError: If its axes are not at right angles.
    """
    matrix = np.diag([-1.0, -1.0, 1.0]) @ affine[:3, :3]
    spacing_mm = np.linalg.norm(matrix, axis=0)
    if spacing_mm.min() <= 0:
        raise PositionError("has a voxel size of 0 mm (sform). Correct the header from the original images.")
    origin_mm = affine[:3, 3] * (-1, -1, 1)
    grid = Grid(
        shape, tuple(spacing_mm.tolist()), tuple(origin_mm.tolist()), tuple((matrix / spacing_mm).ravel().tolist())
    )
    require_right_angles(grid)
    return grid


def require_right_angles(grid: Grid) -> None:
    """Make sure that the axes are orthogonal: nnU-Net, like every network, sees a box.

    Raises:
        PositionError: If a corner is moved by more than 0.1 mm when they are made so.
    """
    u, _, v = np.linalg.svd(np.reshape(grid.direction, (3, 3)))
    upright = grid._replace(direction=tuple((u @ v).ravel().tolist()))
    corners = corners_of(grid.size)
    if np.linalg.norm(grid.to_mm(corners) - upright.to_mm(corners), axis=1).max() > RIGHT_ANGLE_MM:
        cosines = np.reshape(grid.direction, (3, 3))
        sines = np.abs(cosines.T @ cosines - np.eye(3)).max().clip(max=1)
        raise PositionError(f"has axes that are not at right angles, by {np.degrees(np.arcsin(sines)):.2g} {SHEARED}")


def _agree(grid: Grid, other: Grid) -> bool:
    """Whether two statements of one position are the same but for the rounding of the numbers in the header."""
    corners = corners_of(grid.size)
    here, there = grid.to_mm(corners), other.to_mm(corners)
    allowed_mm = SAME_PLACE_VOXELS * min(grid.spacing_mm)
    allowed_mm = allowed_mm + QUATERNION_RADIANS * np.linalg.norm(here - here[0], axis=1)
    return bool((np.linalg.norm(here - there, axis=1) <= allowed_mm).all())


def agreed_with_itk(grid: Grid, file: Path) -> Grid:
    """Return the grid in the numbers of ITK, with which nnU-Net reads, if they say the same; else as it is.

    Raises:
        UserError: If ITK cannot read the header.
        PositionError: If it places voxels elsewhere.
    """
    try:
        itk = header_grid(file)
    except UserError as error:
        if "orthonormal" in str(error):  # more exacting than we are
            raise PositionError(f"has axes that are not quite at right angles, by a fraction of {SHEARED}") from error
        raise
    if itk.size != grid.size or not _agree(grid, itk):
        raise PositionError(
            f"is placed at {grid.describe()} by its header, and at {itk.describe()} by ITK, with which nnU-Net reads. "
            f"{WRITE_POSITION}"
        )
    return itk if distance_apart(grid, itk).mm <= EXACT_MM else grid


def _numbers(values: NDArray) -> str:
    return " x ".join(f"{value:.4g}" for value in values)
