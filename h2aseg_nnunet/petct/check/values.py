"""Whether voxel values are what the channel should hold: CT in HU, PET in SUV. Arrays of any shape, no files."""

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.petct.check.findings import Finding
from h2aseg_nnunet.petct.check.sampling import sample

NOT_TISSUE_HU = -300.0
"""Below lie air, lung and bowel gas only: fat, the least dense tissue, is at -120 to -80 HU, and no SUV is negative."""
SOFT_TISSUE_HU = (-200.0, 200.0)
"""Fat, water, muscle, organs and contrast-enhanced blood, with the noise of a low-dose CT around them."""
STORED_OFFSET = 1024.0
"""DICOM's usual rescale intercept is -1024: forgotten, soft tissue is at 824 to 1224, where only dense bone may be."""
LEAST_SHARE = 1e-4  # of the voxels, to say that a kind of voxel occurs at all
LEAST_SOFT_TISSUE = 0.01
"""A whole body fills a fifth of its field of view, an arm in a 70 cm field still more than a hundredth."""
LEAST_SHIFTED_TISSUE = 0.05  # dense bone is at most a few per cent of any field of view
NARROWEST_RANGE_HU = 500.0  # a CT with any air spans 1000; windows for soft tissue span 350 to 450, 8-bit pictures 255
AIR_MODE_HU = (-1100.0, -650.0)
"""Where values below tissue are most frequent: air at -1000 (or padding at -1024), inside the chest lung at -850."""
PADDING_OR_AIR_HU = -900.0  # a field of view's darkest voxels are not brighter unless a window cut them
LEAST_CLIPPED = 0.01  # share of voxels that have exactly the lowest or highest value where a window cut them
HIGHEST_WINDOW_HU = 1000.0  # saturation above is the scanner's (2976, 3071): metal, not a window

LARGEST_SOFT_TISSUE_SUV = 5.0
"""SUV is relative to an even spread over the body: soft tissue lies near 0.5, tumors and organs apart."""
SMALLEST_SOFT_TISSUE_SUV = 0.05
LARGEST_SUV_LEVEL = 100.0
"""SUV 1 is about 4000 Bq/ml (300 MBq in 70 kg): soft tissue in Bq/ml is in the hundreds even after a tenth of that."""
HIGH_PERCENTILE = 90.0  # stands for soft tissue where the CT cannot show it
LEAST_SOFT_VOXELS = 1000  # a median of fewer says little
NEGATIVE_SUV = -0.1  # beyond rounding
LEAST_NEGATIVE = 0.01
"""Overshoot of an interpolation is rare; standardized images have a large part of their voxels below 0."""

HU_REMEDY = "Convert from DICOM again with rescale slope and intercept applied, without a window or normalization."
SUV_REMEDY = "Convert to SUV: activity x patient's weight / decay-corrected injected dose, 0 where there is none."


def is_soft_tissue(hu: NDArray) -> NDArray[np.bool_]:
    """Voxels with the density of fat, water, muscle or organs."""
    return (hu > SOFT_TISSUE_HU[0]) & (hu < SOFT_TISSUE_HU[1])


def check_constant(values: NDArray, file: str) -> list[Finding]:
    """A channel of one value, after which no other check makes sense."""
    if values.min() < values.max():
        return []
    found = f"every voxel is {values.flat[0]:g}"
    return [Finding("error", "constant", file, found, "an image", "Export or convert this channel again.")]


def check_order(ct: NDArray, pet: NDArray, ct_file: str, pet_file: str) -> list[Finding]:
    """CT-like values in the PET channel: the two files are swapped, or both are CT."""
    ct_low, pet_low = ((sample(values) < NOT_TISSUE_HU).mean() for values in (ct, pet))
    if pet_low < LEAST_CLIPPED:
        return []
    found = f"{pet_low:.0%} of the voxels are below {NOT_TISSUE_HU:g}, as air is in CT"
    if ct_low >= LEAST_CLIPPED:
        remedy = f"Put the PET in its place; {ct_file} is CT as well."
        return [Finding("error", "channel-order", pet_file, found, "PET, which is never negative", remedy)]
    found += f", and {ct_file} has none: the channels look swapped"
    remedy = "Rename the files (0000 is CT, 0001 is PET)."
    return [Finding("error", "channel-order", pet_file, found, "PET, which is never negative", remedy)]


def check_ct(values: NDArray, file: str) -> list[Finding]:
    """Hounsfield units: by the range, the level of air, and where soft tissue lies."""
    some = sample(values)
    low, high = float(values.min()), float(values.max())
    span = f"values from {low:g} to {high:g}"
    if not _share(some, low + 1e-6, NOT_TISSUE_HU) > LEAST_SHARE:  # the lowest value itself may be padding
        return [_ct_without_air(some, low, high, span, file), *_clipped(some, low, high, file)]
    soft = _share(some, *SOFT_TISSUE_HU)
    if soft < LEAST_SOFT_TISSUE:
        found = f"{span}, {soft:.1%} of the voxels at soft tissue's -200 to 200"
        return [Finding("error", "ct-unit", file, found, "HU: air -1000, fat -100, muscle 50", HU_REMEDY)]
    return _air_level(some, file) + _clipped(some, low, high, file)


def check_pet(values: NDArray, soft_tissue: NDArray[np.bool_] | None, file: str) -> list[Finding]:
    """SUV: by the level of soft tissue, and the sign.

    Args:
        values: PET.
        soft_tissue: Where the CT shows it, on the same grid; None if the CT cannot tell.
        file: For the findings.
    """
    some = sample(values)
    negative = float((some < NEGATIVE_SUV).mean())
    lowest = float(values.min())
    if negative >= LEAST_NEGATIVE:
        found = f"{negative:.0%} of the voxels are negative, down to {lowest:g}"
        expected = "SUV, which is never negative: this looks standardized, or not like PET"
        return [Finding("error", "pet-negative", file, found, expected, SUV_REMEDY)]
    findings = _level(some, values, soft_tissue, file)
    if lowest < NEGATIVE_SUV:
        remedy = "If it was resampled by splines, do it linearly instead, or set negative values to 0."
        found = f"lowest value {lowest:g}"
        findings.append(Finding("warning", "pet-negative", file, found, "SUV, which is never negative", remedy))
    return findings


def _share(values: NDArray, low: float, high: float) -> float:
    return float(((values >= low) & (values <= high)).mean())


def _ct_without_air(some: NDArray, low: float, high: float, span: str, file: str) -> Finding:
    shifted = _share(some, SOFT_TISSUE_HU[0] + STORED_OFFSET, SOFT_TISSUE_HU[1] + STORED_OFFSET)
    if shifted >= LEAST_SHIFTED_TISSUE:
        found = f"{span}, soft tissue near 1024 ({shifted:.0%} of the voxels at 824 to 1224)"
        remedy = "The rescale intercept was not applied: subtract 1024, or convert from DICOM again."
        return Finding("error", "ct-unit", file, found, "HU: air -1000, fat -100, muscle 50", remedy)
    if high - low < NARROWEST_RANGE_HU:
        return Finding(
            "error",
            "ct-unit",
            file,
            f"{span}: a window, a normalized image or PET",
            "HU: air -1000, fat -100, muscle 50, bone to 1500",
            HU_REMEDY,
        )
    remedy = "Look at it: only a small box inside the body has neither air nor lung."
    return Finding("warning", "ct-air", file, f"{span}, no air", "air at -1000 HU", remedy)


def _air_level(some: NDArray, file: str) -> list[Finding]:
    low = some[(some > -1500) & (some < NOT_TISSUE_HU)]
    if low.size < LEAST_CLIPPED * some.size:
        return []
    counts, edges = np.histogram(low, bins=60, range=(-1500, NOT_TISSUE_HU))  # 20 HU
    mode = edges[counts.argmax()] + 10
    if AIR_MODE_HU[0] <= mode <= AIR_MODE_HU[1]:
        return []
    found = f"most voxels below tissue are at {mode:g} HU"
    return [Finding("warning", "ct-air", file, found, "air at -1000 HU, lung at -850 HU", HU_REMEDY)]


def _clipped(some: NDArray, low: float, high: float, file: str) -> list[Finding]:
    findings = []
    for value, cut in ((low, low > PADDING_OR_AIR_HU), (high, high < HIGHEST_WINDOW_HU)):
        share = float((some == value).mean())
        if cut and share >= LEAST_CLIPPED:
            found = f"{share:.0%} of the voxels are exactly {value:g}: a window has cut the values"
            findings.append(Finding("warning", "ct-window", file, found, "the full range of HU", HU_REMEDY))
    return findings


def _level(some: NDArray, values: NDArray, soft_tissue: NDArray[np.bool_] | None, file: str) -> list[Finding]:
    """Whether soft tissue, or if unknown the brighter part of the image, has the level of SUV."""
    tissue = None if soft_tissue is None else sample(values)[sample(soft_tissue)]
    if tissue is None or tissue.size < LEAST_SOFT_VOXELS:
        level, what, lowest, highest = np.percentile(some, HIGH_PERCENTILE), "90th percentile", 0.0, LARGEST_SUV_LEVEL
    else:
        level, what = np.median(tissue), "median in soft tissue"
        lowest, highest = SMALLEST_SOFT_TISSUE_SUV, LARGEST_SOFT_TISSUE_SUV
    found = f"{what} {level:.3g}, maximum {values.max():.3g}"
    if level > LARGEST_SUV_LEVEL:
        whole = np.equal(some, np.rint(some)).all()
        unit = "stored numbers without their rescale slope, or Bq/ml" if whole else "Bq/ml or counts"
        expected = f"SUV, in soft tissue near 0.5: this looks like {unit}"
        return [Finding("error", "pet-unit", file, found, expected, SUV_REMEDY)]
    if not lowest <= level <= highest:
        expected = f"SUV, in soft tissue near 0.5 (within {lowest:g} to {highest:g}): another unit, or normalized?"
        return [Finding("warning", "pet-unit", file, found, expected, SUV_REMEDY)]
    return []
