"""Whether a label map holds what dataset.json declares. Arrays of any grid, no files."""

from collections.abc import Sequence

import cc3d
import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.petct.check.findings import Finding

VALUES_IN_A_MESSAGE = 5


def check_label(
    labels: NDArray, expected: Sequence[int], ignore: int | None, file: str
) -> tuple[list[Finding], set[int]]:
    """Values, and lesions that are a single voxel.

    Args:
        labels: Axes (z, y, x).
        expected: All values that dataset.json declares, without `ignore`.
        ignore: nnU-Net's ignore label, if any.
        file: For the findings.

    Returns:
        The findings, and the declared values that occur.
    """
    found = np.unique(labels)  # NaN, if any, comes last
    known = [*expected, *([] if ignore is None else [ignore])]
    unknown = found[~np.isin(found, known)]
    if unknown.size:
        text = ", ".join(f"{value:g}" for value in unknown[:VALUES_IN_A_MESSAGE])
        voxels = np.count_nonzero(~np.isin(labels, known))
        remedy = "Declare the value under labels in dataset.json, or correct the map."
        what = f"label {text}{' ...' if unknown.size > VALUES_IN_A_MESSAGE else ''} in {voxels} voxels"
        return [Finding("error", "label-values", file, what, f"one of {known}", remedy)], set()
    present = {int(value) for value in found}
    foreground = labels > 0 if ignore is None else (labels > 0) & (labels != ignore)
    if not foreground.any():
        remedy = "Right for a patient without lesions; nothing to do then."
        return [Finding("note", "label-empty", file, "no lesion", "lesions, or none if healthy", remedy)], present
    return _single_voxels(foreground, file), present


def _single_voxels(foreground: NDArray[np.bool_], file: str) -> list[Finding]:
    components = cc3d.connected_components(foreground, connectivity=26)
    voxels = cc3d.statistics(components, no_slice_conversion=True)["voxel_counts"][1:]
    single = np.flatnonzero(voxels == 1) + 1
    if not single.size:
        return []
    z, y, x = np.argwhere(components == single[0])[0]
    found = f"{single.size} of {voxels.size} lesions are a single voxel, the first at voxel (x, y, z) = ({x}, {y}, {z})"
    remedy = "Remove slips of the pen: each counts as a whole lesion in lesion-wise metrics."
    return [Finding("warning", "label-single-voxel", file, found, "lesions of several voxels", remedy)]
