"""Pixels of a series as measured values in physical space. What is damaged is refused by name."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from pydicom import FileDataset, dcmread
from pydicom.pixels.utils import get_expected_length

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.dicom.series import Series, Slice
from h2aseg_nnunet.petct.dicom.stack import stack
from h2aseg_nnunet.petct.dicom.values import number, value_of

AIR_HU, METAL_HU = -1024, 3071
"""What CTs measure lies between; padding (PixelPaddingValue) outside of it is replaced by air."""


def read_volume(series: Series, factors: Sequence[float] | None = None) -> SimpleITK.Image:
    """Read the pixels of a series as measured values: stored value x slope + intercept, slice by slice.

    Args:
        series: CT or PET.
        factors: What each slice of `stack(series)` is multiplied with after that, for instance to get SUV.

    Returns:
        A volume of float32; of int16 where all values are whole numbers in its range and no factors are given.

    Raises:
        UserError: If slices do not form a volume, or pixels are missing or cannot be decoded.
    """
    stacked = stack(series)
    shape = int(series.header.Rows), int(series.header.Columns)
    volume = np.empty((len(stacked.slices), *shape), np.float32)
    padding = number(value_of(series.header, "PixelPaddingValue")) if series.modality == "CT" else None
    index_of = {(each.file, each.frame): index for index, each in enumerate(stacked.slices)}
    for each, pixels in _pixels(series, stacked.slices):
        index = index_of[each.file, each.frame]
        if pixels.shape != shape:
            raise UserError(f"{each.file} has {pixels.shape} pixels, others of {series.name} have {shape}.")
        values = _measured(series, each, pixels, padding)
        volume[index] = values if factors is None else values * factors[index]
    image = SimpleITK.GetImageFromArray(_as_integers(volume) if factors is None else volume)
    image.SetOrigin(stacked.origin_mm)
    image.SetSpacing(stacked.spacing_mm)
    image.SetDirection(stacked.direction)
    return image


def _measured(series: Series, each: Slice, pixels: NDArray, padding: float | None) -> NDArray[np.float64]:
    """Measured values of a slice; what lies outside of a CT's field of view is air."""
    if (
        not each.slope
        or each.slope < 0
        or each.intercept is None
        or not np.isfinite([each.slope, each.intercept]).all()
    ):
        raise UserError(
            f"{each.file} of {series.name} has no valid RescaleSlope (0028,1053) and RescaleIntercept (0028,1052): "
            f"{each.slope} and {each.intercept}. Export the series again."
        )
    values = pixels.astype(np.float64) * each.slope + each.intercept
    if padding is not None and not AIR_HU <= padding * each.slope + each.intercept < METAL_HU:
        values[pixels == padding] = AIR_HU
    return values


def _pixels(series: Series, slices: Sequence[Slice]) -> Iterator[tuple[Slice, NDArray]]:
    """Stored values of every slice, file by file: each file is read once, and one at a time is in memory."""
    by_file = sorted(slices, key=lambda each: (str(each.file), each.frame))
    for file, frames in groupby(by_file, key=lambda each: each.file):
        array = _decode(series, file)
        for each in frames:
            yield each, array[each.frame] if array.ndim == 3 else array


def _decode(series: Series, file: Path) -> NDArray:
    try:
        header = dcmread(file, force=True)
        _refuse_length(header)
        return header.pixel_array
    except OSError as error:
        raise UserError(f"{file} of {series.name} cannot be read: {error.strerror or error}.") from error
    except RuntimeError as error:  # pydicom: no decoder for the transfer syntax
        raise UserError(
            f"{file} of {series.name} is compressed, and no decoder is installed: pip install "
            f"'h2aseg_nnunet[dicom-decoders]'. ({' '.join(str(error).split())[:120]})"
        ) from error
    except Exception as error:  # pydicom raises whatever a damaged file makes it raise
        raise UserError(
            f"{file} of {series.name} is damaged: {' '.join(str(error).split()).split(' - ')[0][:160]}"
        ) from error


def _refuse_length(header: FileDataset) -> None:
    """More pixels than the header tells are as wrong as fewer, which pydicom finds by itself."""
    expected = get_expected_length(header)
    if not header.file_meta.TransferSyntaxUID.is_compressed and len(header.PixelData) > expected + expected % 2:
        raise ValueError(f"it has {len(header.PixelData)} bytes of pixels, {expected} are expected")


def _as_integers(volume: NDArray[np.float32]) -> NDArray:
    """Whole numbers within int16 as such: CT takes half the space."""
    limits = np.iinfo(np.int16)
    whole = volume.min() >= limits.min and volume.max() <= limits.max and (volume == np.rint(volume)).all()
    return volume.astype(np.int16) if whole else volume
