"""NIfTI files, read once: every voxel is there, and the header gives one position.

A NIfTI header may state up to three positions (qform, sform, voxel sizes alone), and programs differ in which they
believe. The rule here is nibabel's: the sform if it has a code, else the qform. A file is refused where another reading
of the same header, or ITK's, would put voxels elsewhere.
"""

import gzip
import math
import zlib
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from nibabel import Nifti1Header, Nifti2Header
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.images.errors import NotFiniteError, PositionError
from h2aseg_nnunet.petct.images.grids import SAME_PLACE_VOXELS, Grid, Index, corners_of, distance_apart

NIFTI = (".nii", ".nii.gz")
GEOMETRY = ("pixdim", *(f"quatern_{n}" for n in "bcd"), *(f"{kind}_{n}" for kind in ("qoffset", "srow") for n in "xyz"))
MILLIMETERS = (0, 2)
"""Values of the header's unit of length: not stated, and mm."""
CHUNK_BYTES = 1 << 22
LARGEST_RATIO = 1032
"""Deflate compresses by no more than this."""
QUATERNION_RADIANS = 1.5e-3
"""A qform's rotation is stored in single precision, from which small angles beside a half turn cannot be recovered."""
EXACT_MM = 0.05
RIGHT_ANGLE_MM = 0.1

SHEARED = "degrees (a CT with gantry tilt, or an affine registration?). Resample it onto an upright grid first."
WRITE_POSITION = (
    "Find out which is right, for instance by looking at the image over its CT, and write it into both: "
    "nibabel's image.set_sform(affine, 1) and image.set_qform(affine, 1)."
)


def read_nifti(file: Path) -> SimpleITK.Image:
    """Read a NIfTI file with three axes; stored integers with a scale become single precision, as in ITK.

    Raises:
        UserError: If compressed data is damaged, the file is shorter than its header says, or it is no volume.
        PositionError: If it states no position, or contradictory ones.
        NotFiniteError: If a value is not finite.
    """
    try:
        with gzip.open(file) if file.name.lower().endswith(".gz") else file.open("rb") as stream:
            header = _read_header(stream)
            shape, dtype = _shape(header), _voxel_type(header)
            grid = _position(header, shape)
            values, not_finite = _read_voxels(stream, header, shape, dtype, file.stat().st_size)
        grid = _agreed_with_itk(grid, file)
    except UserError as error:
        raise type(error)(f"{file} {error}") from error
    except (OSError, EOFError, zlib.error, ValueError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise UserError(f"{file} cannot be read: {error.strerror}.") from error
        raise UserError(f"{file} is damaged or no NIfTI file: {error}") from error
    if not_finite:
        raise NotFiniteError(f"{file} {not_finite_words(not_finite)}")
    image = SimpleITK.GetImageFromArray(values)
    image.SetSpacing(grid.spacing_mm)
    image.SetOrigin(grid.origin_mm)
    image.SetDirection(grid.direction)
    return image


def not_finite_words(count: int) -> str:
    """What a message says of values that are not finite."""
    values = "1 value that is" if count == 1 else f"{count} values that are"
    return f"has {values} not finite (NaN or infinite). Replace them first."


def _read_header(stream: BufferedIOBase) -> Nifti1Header:
    """Read the header, which begins with its own size in either byte order."""
    start = stream.read(Nifti1Header.sizeof_hdr)
    sizes = [int.from_bytes(start[:4], order) for order in ("little", "big")]
    if Nifti2Header.sizeof_hdr in sizes:
        raise UserError("is a NIfTI-2 file, which ITK, and so nnU-Net, does not read. Save it as NIfTI-1.")
    if Nifti1Header.sizeof_hdr not in sizes or len(start) < Nifti1Header.sizeof_hdr:
        raise UserError("is damaged or no NIfTI file: it does not begin with a header.")
    header = Nifti1Header(start, check=False)
    if header["magic"].item()[:3] != Nifti1Header.single_magic[:3]:
        raise UserError("is no NIfTI file of header and voxels in one (Analyze or a pair?): convert it.")
    return header


def _shape(header: Nifti1Header) -> Index:
    """The size (x, y, z); a single time point is a volume."""
    shape = tuple(map(int, header.get_data_shape()))
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise UserError(f"is not one image with three axes: size {shape}. Save one volume of it.")
    if min(shape) < 1:
        raise UserError(f"is damaged or no NIfTI file: its size is {shape}.")
    return shape


def _voxel_type(header: Nifti1Header) -> np.dtype:
    try:
        dtype = header.get_data_dtype()
    except (KeyError, HeaderDataError) as error:
        raise UserError(
            f"is damaged or no NIfTI file: its voxels have the unknown type {header['datatype']}"
        ) from error
    if dtype.names:
        raise UserError(f"is not one image with three axes: {len(dtype.names)} values per voxel (colors?).")
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise UserError(f"has voxels of type {dtype}: integers or real numbers of at most 8 bytes are expected.")
    return dtype


def _position(header: Nifti1Header, shape: Index) -> Grid:
    """The grid of the voxels, if the header leaves no doubt.

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
                f"has a {name} and {other_name} that place voxels up to {mm:.3g} mm apart. {WRITE_POSITION}"
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


def _agreed_with_itk(grid: Grid, file: Path) -> Grid:
    """The grid in ITK's numbers, with which nnU-Net reads, where they say the same; else ours."""
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


def header_grid(file: Path) -> Grid:
    """What ITK reads of a header.

    Raises:
        UserError: If it does not.
    """
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise UserError(f"cannot be read: {itk_reason(error)}") from error
    return Grid(reader.GetSize(), reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection())


def itk_reason(error: RuntimeError) -> str:
    """The last line of ITK's message, where the reason is."""
    return str(error).strip().splitlines()[-1].removeprefix("sitk::ERROR: ").strip()


def _read_voxels(
    stream: Any, header: Nifti1Header, shape: Index, dtype: np.dtype, file_bytes: int
) -> tuple[NDArray, int]:
    """Voxels (z, y, x), and how many are not finite; reads on to the end for gzip's checksum."""
    slope, intercept = _scale(header)
    scaled = (slope, intercept) != (1.0, 0.0)
    expected_bytes = math.prod(shape) * dtype.itemsize
    stream.seek(_offset(header))
    if expected_bytes > LARGEST_RATIO * file_bytes:  # no memory for a size that cannot be
        raise _incomplete(_drain(stream), expected_bytes)
    native = dtype.newbyteorder("=")
    kind = np.dtype(np.float32) if scaled and native != np.float64 else native
    values = np.empty(math.prod(shape), kind)
    filled = not_finite = 0
    while filled < values.size:
        chunk = stream.read(min(CHUNK_BYTES, (values.size - filled) * dtype.itemsize))
        if len(chunk) % dtype.itemsize or not chunk:
            raise _incomplete(filled * dtype.itemsize + len(chunk), expected_bytes)
        part = np.frombuffer(chunk, dtype)
        if scaled:
            part = part.astype(np.float64) * slope + intercept
        if part.dtype.kind == "f":
            not_finite += part.size - int(np.count_nonzero(np.isfinite(part)))
        values[filled : filled + part.size] = part
        filled += part.size
    _drain(stream)
    return values.reshape(shape[::-1]), not_finite


def _offset(header: Nifti1Header) -> int:
    return max(int(header["vox_offset"]), header.sizeof_hdr)


def _scale(header: Nifti1Header) -> tuple[float, float]:
    """Slope and intercept of stored values; a slope of 0, or none, stands for values as they are."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if not math.isfinite(slope) or slope == 0:
        if intercept != 0 and math.isfinite(intercept):
            raise UserError(
                f"has the intercept {intercept:g} with the slope {slope:g}: programs differ in whether it counts. "
                "Save it again with the values themselves."
            )
        return 1.0, 0.0
    if not math.isfinite(intercept):
        raise UserError(f"has the intercept {intercept:g}. Convert it again from its source.")
    return slope, intercept


def _incomplete(found_bytes: int, expected_bytes: int) -> UserError:
    return UserError(f"is incomplete: it holds {found_bytes} of {expected_bytes} bytes of voxels. Copy it again.")


def _drain(stream: Any) -> int:
    """Read to the end; return the number of bytes."""
    count = 0
    while chunk := stream.read(CHUNK_BYTES):
        count += len(chunk)
    return count


def _numbers(values: NDArray) -> str:
    return " x ".join(f"{value:.4g}" for value in values)
