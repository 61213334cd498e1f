"""Whether a label map holds what dataset.json declares. Arrays of any grid, no files."""

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.petct.check.findings import Finding
from h2aseg_nnunet.petct.images.lesions import label_components
from h2aseg_nnunet.petct.nnunet.dataset_json import Labels

VALUES_IN_A_MESSAGE = 5


def check_label(voxels: NDArray, labels: Labels, file: str) -> tuple[list[Finding], set[int]]:
    """Check values, and lesions that are a single voxel.

    Args:
        voxels: The label map, axes (z, y, x).
        labels: What dataset.json declares.
        file: For the findings.

    Returns:
        The findings, and the declared values that occur.
    """
    found = np.unique(voxels)
    known = [*labels.values, *([] if labels.ignore is None else [labels.ignore])]
    unknown = found[~np.isin(found, known)]
    if unknown.size:
        text = ", ".join(str(value).removesuffix(".0") for value in unknown[:VALUES_IN_A_MESSAGE])
        count = np.count_nonzero(~np.isin(voxels, known))
        what = f"label {text}{' ...' if unknown.size > VALUES_IN_A_MESSAGE else ''} in {count} voxels"
        return [Finding("error", "label-values", file, what, f"one of {known}", _remedy(found, unknown))], set()
    present = {int(value) for value in found}
    foreground = voxels > 0 if labels.ignore is None else (voxels > 0) & (voxels != labels.ignore)
    if not foreground.any():
        remedy = "Right for a patient without lesions; nothing to do then."
        return [Finding("note", "label-empty", file, "no lesion", "lesions, or none if healthy", remedy)], present
    return _single_voxels(foreground, file), present


def _remedy(found: NDArray, unknown: NDArray) -> str:
    """Say what has most likely happened to a label map, and how to mend it."""
    if set(found.tolist()) <= {0, 255}:
        return "It looks like a black and white picture: store 1 instead of 255."
    away = np.abs(unknown - np.rint(unknown)).max()
    if 0 < away < 0.01:
        return "Round the map to whole numbers and save it as integers."
    if away:
        return "Threshold it if it holds probabilities; resample labels by nearest neighbor."
    if unknown.min() < 0:
        return "Where nobody judged, store a label that dataset.json declares as ignore; else store 0."
    return "Declare the value under labels in dataset.json, or correct the map."


def _single_voxels(foreground: NDArray[np.bool_], file: str) -> list[Finding]:
    lesions, count = label_components(foreground)
    single = np.flatnonzero(np.bincount(lesions.ravel(), minlength=count + 1)[1:] == 1) + 1
    if not single.size:
        return []
    z, y, x = np.argwhere(lesions == single[0])[0]
    found = f"{single.size} of {count} lesions are a single voxel, the first at voxel (x, y, z) = ({x}, {y}, {z})"
    remedy = "Remove slips of the pen: each counts as a whole lesion in lesion-wise metrics."
    return [Finding("warning", "label-single-voxel", file, found, "lesions of several voxels", remedy)]
