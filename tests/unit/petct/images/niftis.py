"""NIfTI files with any header, which nibabel and ITK would not write."""

from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

AXIAL = np.array([[-4.0, 0, 0, 50], [0, -4, 0, 60], [0, 0, 4, 100], [0, 0, 0, 1]])
"""NIfTI's matrix of an axial image with voxels of 4 mm; in ITK's space its first voxel is at (-50, -60, 100)."""


def write_nifti(
    file: Path,
    voxels: NDArray,
    qform: NDArray | None = AXIAL,
    sform: NDArray | None = AXIAL,
    codes: tuple[int, int] = (1, 1),
    **fields: object,
) -> Path:
    """Write voxels (z, y, x) under a header.

    Args:
        file: A .nii.
        voxels: Written in their own type and byte order.
        qform: Position by voxel sizes and quaternion.
        sform: Position by a matrix.
        codes: qform_code and sform_code; 0 says that the position does not count.
        fields: Fields of the header, set last.
    """
    header = nibabel.Nifti1Header(endianness="<" if voxels.dtype.byteorder in "=|<" else ">")
    header.set_data_shape(voxels.shape[::-1])
    header.set_data_dtype(voxels.dtype)
    header.set_qform(qform, codes[0])
    header.set_sform(sform, codes[1])
    header["magic"], header["vox_offset"] = b"n+1", 352
    header["scl_slope"], header["scl_inter"] = 1, 0
    for name, value in fields.items():
        header[name] = value
    file.write_bytes(header.binaryblock + bytes(4) + voxels.tobytes())
    return file
