"""Reading a three-dimensional image, or saying in one sentence why it cannot be used."""

import gzip
import math
import zlib
from io import BufferedIOBase
from pathlib import Path

import numpy as np
import SimpleITK
from nibabel import Nifti1Header, Nifti2Header
from nibabel.spatialimages import HeaderDataError

from h2aseg_nnunet.errors import UserError

NIFTI = (".nii", ".nii.gz")
GEOMETRY = ("pixdim", *(f"quatern_{n}" for n in "bcd"), *(f"{kind}_{n}" for kind in ("qoffset", "srow") for n in "xyz"))
CHUNK_BYTES = 1 << 22


class NotFiniteError(UserError):
    """An image holds NaN or infinity."""


def read_image(file: Path) -> SimpleITK.Image:
    """Read a scalar image with three axes.

    Raises:
        UserError: If the file is missing, a folder, damaged or incomplete, or the image has other axes, several values
            per voxel, or values that are not finite.
    """
    if file.is_dir():
        raise UserError(
            f"{file} is a folder, an image file was expected. Convert DICOM series to NIfTI first, PET to SUV."
        )
    if not file.exists():
        raise UserError(f"{file} does not exist.")
    is_nifti = file.name.lower().endswith(NIFTI)
    if is_nifti:
        check_nifti(file)
    try:
        image = SimpleITK.ReadImage(str(file))
    except RuntimeError as error:
        raise UserError(f"{file} cannot be read: {str(error).strip().splitlines()[-1]}") from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise UserError(
            f"{file} is not one image with three axes: size {image.GetSize()}, "
            f"{image.GetNumberOfComponentsPerPixel()} values per voxel."
        )
    if not is_nifti:
        _require_finite(file, int(np.count_nonzero(~np.isfinite(SimpleITK.GetArrayViewFromImage(image)))))
    return image


def read_labels(file: Path, num_labels: int) -> SimpleITK.Image:
    """Read a label map with the values 0 (background) to `num_labels`, as 8-bit integers.

    Raises:
        UserError: As `read_image`, or if another value occurs.
    """
    image = read_image(file)
    found = np.unique(SimpleITK.GetArrayViewFromImage(image))
    unexpected = found[~np.isin(found, np.arange(num_labels + 1))]
    if unexpected.size:
        values = ", ".join(f"{value:g}" for value in unexpected[:5])
        raise UserError(f"{file} has label {values}; expected are whole numbers from 0 to {num_labels}.")
    return SimpleITK.Cast(image, SimpleITK.sitkUInt8)


def check_nifti(file: Path) -> None:
    """Look for what ITK passes over in NIfTI files: it fills in what is missing, and reads NaN as 0.

    Raises:
        UserError: If compressed data is damaged, the file is shorter than its header says, or a value is not finite.
    """
    try:
        with gzip.open(file) if file.name.lower().endswith(".gz") else file.open("rb") as stream:
            header = _read_header(stream)
            _require_finite_geometry(header)
            dtype = _voxel_type(header)
            expected_bytes = max(0, math.prod(header.get_data_shape())) * dtype.itemsize
            stream.seek(max(int(header["vox_offset"]), header.sizeof_hdr))
            found_bytes, not_finite = _scan(stream, dtype, expected_bytes)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise UserError(f"{file} is damaged or no NIfTI file: {error}") from error
    if found_bytes < expected_bytes:
        raise UserError(f"{file} is incomplete: it holds {found_bytes} of {expected_bytes} bytes of voxels.")
    _require_finite(file, not_finite)


def _read_header(stream: BufferedIOBase) -> Nifti1Header:
    """NIfTI-1 or NIfTI-2, which begin with the header's size in either byte order."""
    start = stream.read(Nifti2Header.sizeof_hdr)
    sizes = [int.from_bytes(start[:4], order) for order in ("little", "big")]
    for kind in (Nifti1Header, Nifti2Header):
        if kind.sizeof_hdr in sizes and len(start) >= kind.sizeof_hdr:
            return kind(start[: kind.sizeof_hdr], check=False)
    raise UserError("it does not begin with a header")


def _require_finite_geometry(header: Nifti1Header) -> None:
    if not all(np.isfinite(header[name]).all() for name in GEOMETRY):
        raise UserError("its geometry has numbers that are not finite")  # ITK would compute for ever


def _voxel_type(header: Nifti1Header) -> np.dtype:
    try:
        return header.get_data_dtype()
    except (KeyError, HeaderDataError) as error:
        raise UserError(f"its voxels have the unknown type {header['datatype']}") from error


def _scan(stream: BufferedIOBase, dtype: np.dtype, num_bytes: int) -> tuple[int, int]:
    """Bytes of voxels, at most `num_bytes`, and values that are not finite; reads on to the end for gzip's checksum."""
    found_bytes = not_finite = 0
    while chunk := stream.read(min(CHUNK_BYTES, num_bytes - found_bytes) or CHUNK_BYTES):
        if found_bytes == num_bytes:
            continue  # what follows the voxels
        if dtype.kind == "f":
            values = np.frombuffer(chunk, dtype, count=len(chunk) // dtype.itemsize)
            not_finite += int(np.count_nonzero(~np.isfinite(values)))
        found_bytes += len(chunk)
    return found_bytes, not_finite


def _require_finite(file: Path, not_finite: int) -> None:
    if not_finite:
        raise NotFiniteError(
            f"{file} has {not_finite} values that are not finite (NaN or infinite). Replace them first."
        )
