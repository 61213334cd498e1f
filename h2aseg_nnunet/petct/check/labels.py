"""Whether a label map holds what dataset.json declares. Arrays of any grid, no files."""

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.petct.check.findings import Finding
from h2aseg_nnunet.petct.images.lesions import label_components
from h2aseg_nnunet.petct.images.masks import find_fault
from h2aseg_nnunet.petct.labels import Declared, Labels


def check_label(voxels: NDArray, labels: Labels, file: str) -> tuple[list[Finding], set[int]]:
    """Check values, and lesions that are a single voxel.

    Args:
        voxels: The label map, axes (z, y, x).
        labels: What dataset.json declares.
        file: For the findings.

    Returns:
        The findings, and the declared values that occur.
    """
    declared = Declared(labels, "dataset.json", how="declare the value under labels there")
    if fault := find_fault(voxels, declared):
        return [Finding("error", "label-values", file, fault.found, f"one of {declared.known}", fault.remedy)], set()
    present = {int(value) for value in np.unique(voxels)}
    foreground = voxels > 0 if labels.ignore is None else (voxels > 0) & (voxels != labels.ignore)
    if not foreground.any():
        remedy = "Right for a patient without lesions; nothing to do then."
        return [Finding("note", "label-empty", file, "no lesion", "lesions, or none if healthy", remedy)], present
    return _single_voxels(foreground, file), present


def _single_voxels(foreground: NDArray[np.bool_], file: str) -> list[Finding]:
    lesions, count = label_components(foreground)
    single = np.flatnonzero(np.bincount(lesions.ravel(), minlength=count + 1)[1:] == 1) + 1
    if not single.size:
        return []
    z, y, x = np.argwhere(lesions == single[0])[0]
    found = f"{single.size} of {count} lesions are a single voxel, the first at voxel (x, y, z) = ({x}, {y}, {z})"
    remedy = "Remove slips of the pen: each counts as a whole lesion in lesion-wise metrics."
    return [Finding("warning", "label-single-voxel", file, found, "lesions of several voxels", remedy)]
