"""The probabilities that nnU-Net saves beside a mask, case.npz, by --save_probabilities or --val --npz."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.errors import UserError

ARRAY = "probabilities"
NEARLY = 1e-3
"""Rounding of probabilities: in 16 bits 0.5 is a multiple of 0.0005."""

UNREADABLE = (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error)
"""What reading a damaged file raises."""


def has_regions(dataset_json: Mapping[str, Any]) -> bool:
    """Whether a dataset's labels are regions, whose probabilities do not add up to 1 and have no background."""
    return any(isinstance(value, list | tuple) and len(value) > 1 for value in dataset_json["labels"].values())


def read_tumor_probability(file: Path, regions: bool) -> NDArray:
    """Read the probability of anything but background, (z, y, x): of regions, that of the likeliest.

    Of classes only the background is read, which is the first part of the file.

    Raises:
        UserError: If the file is missing, damaged or something else.
    """
    if regions:
        return tumor_of(read_probabilities(file), regions)
    try:
        with zipfile.ZipFile(file) as archive, archive.open(f"{ARRAY}.npy") as stream:
            first = np.lib.format.read_magic(stream) == (1, 0)
            header = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
            shape, columns_first, dtype = header(stream)
            if not columns_first and len(shape) == 4:
                count = int(np.prod(shape[1:]))
                background = np.frombuffer(stream.read(count * dtype.itemsize), dtype, count).reshape(shape[1:])
                return 1 - background.astype(np.float32)
    except UNREADABLE as error:
        raise _unreadable(file, error) from error
    return tumor_of(read_probabilities(file), regions)


def tumor_of(probabilities: NDArray, regions: bool) -> NDArray:
    """Return the probability of anything but background, of regions that of the likeliest."""
    return probabilities.max(axis=0) if regions else 1 - probabilities[0]


def read_probabilities(file: Path) -> NDArray[np.float32]:
    """Read all probabilities, (classes or regions, z, y, x).

    Raises:
        UserError: If the file is missing, damaged or something else.
    """
    try:
        with np.load(file) as content:
            probabilities = content[ARRAY]
    except UNREADABLE as error:
        raise _unreadable(file, error) from error
    if probabilities.ndim != 4:
        raise UserError(f"{file}: {ARRAY} has {probabilities.ndim} axes, expected are 4. Predict the case again.")
    return probabilities.astype(np.float32, copy=False)


def require_of_mask(probability: NDArray, mask: NDArray[np.bool_], file: Path, mask_file: Path) -> None:
    """Make sure that probabilities are those of a mask: where nnU-Net finds tumor, its probability is at least 0.5.

    Raises:
        UserError: If not, for instance because nnU-Net's reader had turned the image.
    """
    if probability.shape != mask.shape:
        raise UserError(
            f"{file} has {probability.shape} voxels (z, y, x), {mask_file} {mask.shape}: probabilities and mask of one "
            "prediction are needed, by a reader of nnU-Net that does not turn images."
        )
    if mask.any() and not probability[mask].min() >= 0.5 - NEARLY:  # NaN is not, either
        raise UserError(
            f"{file} is not of {mask_file}: tumor has a probability of {probability[mask].min():.3g} there, where the "
            "mask has some. Predict the case again, with probabilities."
        )


def classes_if_tumor(probabilities: NDArray, dataset_json: Mapping[str, Any], threshold: float) -> NDArray:
    """Return the class of each voxel, should it be tumor, by the probabilities of all classes or regions.

    Args:
        probabilities: Of all classes or regions.
        dataset_json: Content of the model's dataset.json.
        threshold: From which probability on a region is there.
    """
    if not has_regions(dataset_json):
        return probabilities[1:].argmax(axis=0).astype(np.uint8) + 1
    classes = np.zeros(probabilities.shape[1:], np.uint8)
    for region, value in zip(probabilities, dataset_json["regions_class_order"], strict=True):
        classes[region > threshold] = value
    return classes


def _unreadable(file: Path, error: Exception) -> UserError:
    if not file.is_file():
        return UserError(
            f"{file} is missing: the rule asks for probabilities. Predict with nnUNetv2_predict --save_probabilities, "
            "or validate with nnUNetv2_train ... --val --npz."
        )
    return UserError(f"{file} is damaged, or holds no probabilities of nnU-Net ({error}). Predict the case again.")
