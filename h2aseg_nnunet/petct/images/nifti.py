"""NIfTI files, read once: every voxel is there, and the header states one position."""

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
from h2aseg_nnunet.petct.images.errors import NotFiniteError
from h2aseg_nnunet.petct.images.grids import Index
from h2aseg_nnunet.petct.images.nifti_position import agreed_with_itk, stated_position

NIFTI = (".nii", ".nii.gz")
CHUNK_BYTES = 1 << 22
LARGEST_RATIO = 1032
"""Deflate compresses by no more than this."""


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
            grid = stated_position(header, shape)
            values, not_finite = _read_voxels(stream, header, shape, dtype, file.stat().st_size)
        grid = agreed_with_itk(grid, file)
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
