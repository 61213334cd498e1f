"""Faults of the conversion of PET from DICOM: lost slopes, numbers too large or too coarse for their type.

Each DICOM slice of a PET has a slope of its own, chosen so that the slice's highest value fills 16 bits. Converters
that pass over it, or store more than the type holds, leave an image that still looks like a PET.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from h2aseg_nnunet.petct.check.findings import Finding, Severity, has_errors
from h2aseg_nnunet.petct.check.sampling import sample

LEAST_VOXELS = 100  # of tissue in two neighboring slices, to compare them
LEAST_SLICES = 8
SUSPECT_STEP, CERTAIN_STEP = 0.1, 0.2
"""Median change of uptake from slice to slice, as a logarithm. In 40 patients it is 0.02, at most 0.05."""
SAME_MAXIMUM = 0.97
MOST_SAME_MAXIMA = 0.5
"""Share of slices that reach the highest value: in 40 patients at most 0.13; 1 where each slice fills its type."""
EIGHT_BITS = 256
COARSE_STEP = 0.03  # of the 90th percentile: coarser than PET's noise
OVERSHOOT = 0.25
"""Interpolation by splines falls below 0 by a tenth of the highest value at a sharp border; more is no overshoot."""
LEAST_CUT = 20  # voxels with exactly the highest value
HOT, COLD = 0.75, 0.25
"""Shares of the highest value that cannot be neighbors inside a hot region: scanners blur over several millimeters."""
HOT_SPOT = 4.0  # times the 90th percentile: else the highest value is noise

REMEDY = "Convert from DICOM again into 32-bit floating point, with the rescale slope of each slice, then to SUV."


def check_conversion(pet: NDArray, tissue: NDArray[np.bool_] | None, axial: int, file: str) -> list[Finding]:
    """Look for the marks that a conversion leaves.

    Args:
        pet: PET, axes (z, y, x) as in the array of its file.
        tissue: Where the CT shows soft tissue, of the same shape; None if it cannot tell.
        axial: The axis across axial slices.
        file: For the findings.
    """
    if overflow := _overflow(pet, file):
        return overflow
    slices = np.moveaxis(pet, axial, 0)
    measured = None if tissue is None else np.moveaxis(tissue, axial, 0)
    findings = _few_values(pet, file) or _slopes(slices, measured, file) or _cut(pet, file)
    return findings if has_errors(findings) else findings + _missing(slices, file)


def _slopes(slices: NDArray, tissue: NDArray[np.bool_] | None, file: str) -> list[Finding]:
    """Neighboring slices show nearly the same tissue: uptake that jumps between them all is a matter of scale."""
    maxima = slices.reshape(len(slices), -1).max(axis=1)
    filled = maxima[maxima > 0]
    if len(filled) >= LEAST_SLICES:
        same = float((filled > SAME_MAXIMUM * filled.max()).mean())
        at_maximum = np.median([(axial >= filled.max()).sum() for axial in slices])
        if same >= MOST_SAME_MAXIMA and at_maximum < LEAST_CUT:
            found = f"{same:.0%} of the slices have the same highest value {filled.max():.3g}"
            return [_lost("error", f"{found}: the slope of each slice was lost", file)]
    steps = [step for pair in range(len(slices) - 1) if (step := _step(slices, tissue, pair)) is not None]
    if len(steps) < LEAST_SLICES:
        return []
    typical = float(np.median(np.abs(steps)))
    if typical < SUSPECT_STEP:
        return []
    severity: Severity = "error" if typical >= CERTAIN_STEP else "warning"
    factor, largest = np.exp(typical), np.exp(np.abs(steps).max())
    found = f"neighboring slices differ by a factor of {factor:.2f} in the median, {largest:.1f} at most"
    return [_lost(severity, f"{found}: the slope of each slice was lost, or slices are in disorder", file)]


def _lost(severity: Severity, found: str, file: str) -> Finding:
    return Finding(severity, "pet-slopes", file, found, "uptake that changes little from slice to slice", REMEDY)


def _step(slices: NDArray, tissue: NDArray[np.bool_] | None, pair: int) -> float | None:
    """Logarithm of the ratio of two neighboring slices, in the median of voxels; None if there are few to compare."""
    first, second = slices[pair], slices[pair + 1]
    both = (first > 0) & (second > 0)
    if tissue is not None:
        both &= tissue[pair] & tissue[pair + 1]
    if np.count_nonzero(both) < LEAST_VOXELS:
        return None
    return float(np.median(np.log(second[both].astype(np.float64) / first[both])))


def _missing(slices: NDArray, file: str) -> list[Finding]:
    """Slices that do not exist were left empty, or filled with their neighbors; at the ends it is padding."""
    changes = [k for k in range(len(slices) - 1) if not np.array_equal(slices[k], slices[k + 1])]
    copies = len(range(changes[0], changes[-1] + 1)) - len(changes) if changes else 0
    empty = [k for k in changes[:-1] if slices[k + 1].min() == slices[k + 1].max()]
    if not copies and not empty:
        return []
    found = f"slices between others are empty or copies of their neighbors: {copies + len(empty)}"
    remedy = "Get the missing files of the series, and convert it again."
    return [Finding("warning", "pet-slices", file, found, "measured slices", remedy)]


def _few_values(pet: NDArray, file: str) -> list[Finding]:
    some = sample(pet)
    values = np.unique(some)
    if values.size > EIGHT_BITS or np.median(np.diff(values)) < COARSE_STEP * np.percentile(some, 90):
        return []
    if np.equal(values, np.rint(values)).all():
        found = f"only {values.size} whole numbers, up to {values[-1]:g}: decimals were lost in integers or 8 bits"
        return [Finding("error", "pet-integer", file, found, "thousands of different values", REMEDY)]
    found = f"only {values.size} different values, up to {values[-1]:g}: stored in 8 bits, or no measured image"
    return [Finding("warning", "pet-integer", file, found, "thousands of different values", REMEDY)]


def _overflow(pet: NDArray, file: str) -> list[Finding]:
    """Values beyond the highest number of an integer type begin again at its lowest: below 0, or near it."""
    lowest, highest = float(pet.min()), float(pet.max())
    remedy = f"{REMEDY} Do not set these voxels to 0: the hottest are among them."
    if highest > 0 and lowest < -OVERSHOOT * highest and (pet < 0).mean() < 0.5 and np.median(pet) >= 0:
        found = f"lowest value {lowest:g} where the highest is {highest:g}: too large numbers overflowed their type"
        return [Finding("error", "pet-overflow", file, found, "SUV, which is never negative", remedy)]
    if holes := _sharp_holes(pet, highest):
        found = (
            f"{holes} voxels below {COLD * highest:.3g} inside a hot region, beside {HOT * highest:.3g}: an overflow"
        )
        return [Finding("warning", "pet-overflow", file, found, "no sharp holes in hot regions", remedy)]
    return []


def _sharp_holes(pet: NDArray, highest: float) -> int:
    """Cold voxels that warmer ones enclose and hot ones touch; there are none without a hot spot."""
    if highest < HOT_SPOT * np.percentile(sample(pet), 90):
        return 0
    warm, hot = pet > COLD * highest, pet > HOT * highest
    regions, _ = ndimage.label(warm)
    count = 0
    for box in ndimage.find_objects(regions):
        if min(part.stop - part.start for part in box) >= 3:
            holes = ndimage.binary_fill_holes(warm[box]) & ~warm[box]
            count += int((holes & ndimage.binary_dilation(hot[box])).sum())
    return count


def _cut(pet: NDArray, file: str) -> list[Finding]:
    highest = pet.max()
    count = int(np.count_nonzero(pet == highest))
    if count < LEAST_CUT:
        return []
    found = f"{count} voxels have exactly the highest value {highest:g}: a window or an integer type has cut the uptake"
    return [Finding("warning", "pet-cut", file, found, "one hottest voxel", REMEDY)]
