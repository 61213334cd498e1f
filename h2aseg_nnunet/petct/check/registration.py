"""Whether CT, PET and label show the patient in the same place.

Three facts are tested, each free of the anatomy in the image: uptake lies in the patient and not in the air beside it;
the outlines of the body agree best where they are; lesions are not in the air. Small shifts, and shifts along a limb,
change none of them: silence is no proof of alignment.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from h2aseg_nnunet.petct.check.coarse import Pair, block_means, depth_mm, inside_body
from h2aseg_nnunet.petct.check.field_of_view import unmeasured
from h2aseg_nnunet.petct.check.findings import Finding
from h2aseg_nnunet.petct.check.values import is_soft_tissue

AIR_HU = -900.0  # lung, where breathing displaces tumors in healthy scans, is denser
OUTSIDE_MM = 6.0
"""Scanners blur with 5 to 8 mm full width at half maximum, older ones with 10: so far outside a hot surface at most a
tenth of its uptake is seen."""
HOT_SUV = 3.0  # above all but organs and tumors, and above noise
LEAST_OF_PEAK = 0.25  # of the highest uptake around; blur alone leaves a tenth
PEAK_MM = 18.0
LEAST_HOT_ML = 0.5  # about the smallest volume that PET resolves: a sphere of one 10 mm width at half maximum

OUTLINE_MM = 8.0  # spacing on which outlines are compared
LARGEST_SHIFT_MM = 40.0
LEAST_SHIFT_MM = 10.0  # less is breathing, heartbeat and resampling
LEAST_GAIN = 0.12
"""Gain in the outlines' correlation. A crop of well-aligned limbs gains up to 0.07 by sliding along it; a shift of
25 mm across a body or limb costs 0.1 to 0.4."""
LEAST_CORRELATION = 0.5
"""Aligned outlines correlate by 0.8 or more, an image with itself mirrored by down to 0."""
TISSUE_LEVEL = 0.5  # of soft tissue's median uptake counts as wholly inside the body
AXES = ("slices", "rows", "columns")

LEAST_LESION_IN_AIR = 0.1  # share of a label map's volume; resampled borders of superficial lesions stay below 0.02

REMEDY = "Look at the fused images; register PET and CT again, or leave the case out of training."


def check_registration(pair: Pair, ct_file: str, pet_file: str, label_file: str | None) -> list[Finding]:
    body = inside_body(pair.ct)
    return [
        *_uptake_in_air(pair, body, ct_file, pet_file),
        *_outlines(pair, body, ct_file, pet_file),
        *_lesion_in_air(pair, body, label_file),
    ]


def _uptake_in_air(pair: Pair, body: NDArray[np.bool_], ct_file: str, pet_file: str) -> list[Finding]:
    """Hot tissue outside the CT's body, further than the scanner's blur reaches."""
    hot_air = (pair.pet >= HOT_SUV) & (pair.ct < AIR_HU) & ~body
    if hot_air.sum() * pair.voxel_ml < LEAST_HOT_ML:
        return []  # spares the neighborhoods and distances of most images
    width = 2 * np.rint(PEAK_MM / pair.spacing_mm).astype(int) + 1
    peak = ndimage.maximum_filter(pair.pet, size=tuple(width.tolist()))
    displaced = hot_air & (pair.pet >= LEAST_OF_PEAK * peak) & (depth_mm(~body, pair.spacing_mm) >= OUTSIDE_MM)
    displaced &= ~unmeasured(pair.ct)  # padding is the field of view's matter
    spot = _largest_component(displaced)  # scattered voxels are a blurred border, one spot is something displaced
    volume_ml = spot.sum() * pair.voxel_ml
    if volume_ml < LEAST_HOT_ML:
        return []
    found = (
        f"suspected misregistration: {volume_ml:.1f} ml with SUV {HOT_SUV:g} to {pair.pet[spot].max():.1f} lie in "
        f"the air of {ct_file}, {OUTSIDE_MM:g} mm or more outside the body"
    )
    return [Finding("warning", "registration", pet_file, found, "uptake inside the body", REMEDY)]


def _largest_component(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    components, number = cc3d.largest_k(mask, k=1, connectivity=26, return_N=True)
    return components > 0 if number else mask


def _lesion_in_air(pair: Pair, body: NDArray[np.bool_], label_file: str | None) -> list[Finding]:
    if pair.label is None or label_file is None or not pair.label.any():
        return []
    share = float(pair.label[~body & (pair.ct < AIR_HU)].sum() / pair.label.sum())
    if share < LEAST_LESION_IN_AIR:
        return []
    found = f"suspected misregistration: {share:.0%} of the lesion volume lies in the CT's air, outside the body"
    remedy = "Check that the label belongs to this case and was not mirrored or shifted when it was converted."
    return [Finding("warning", "registration", label_file, found, "lesions inside the body", remedy)]


class Fit(NamedTuple):
    """The best position of PET on CT."""

    correlation: float
    shift_mm: NDArray[np.float64]
    mirrored: str = ""


def _outlines(pair: Pair, body: NDArray[np.bool_], ct_file: str, pet_file: str) -> list[Finding]:
    """The body's outline in CT and in PET: another position or a mirrored PET fits much better, or nothing fits."""
    soft_tissue = is_soft_tissue(pair.ct)
    level = float(np.median(pair.pet[soft_tissue])) if soft_tissue.any() else 0.0
    if level <= 0:
        return []
    factors = np.minimum(np.maximum(1, np.rint(OUTLINE_MM / pair.spacing_mm).astype(int)), body.shape)
    ct = block_means(body, factors)
    pet = block_means(np.clip(pair.pet / (TISSUE_LEVEL * level), 0, 1), factors)
    if ct.std() < 0.05 or pet.std() < 0.05:
        return []  # a box inside the body has no outline
    here, fits = _fits(ct, pet, pair.spacing_mm * factors)
    best = max(fits, key=lambda fit: fit.correlation)
    if best.correlation - here >= LEAST_GAIN and (best.mirrored or np.linalg.norm(best.shift_mm) >= LEAST_SHIFT_MM):
        how = f"mirrored along the {best.mirrored}" if best.mirrored else "where it is"
        if best.shift_mm.any():
            how = f"{how if best.mirrored else ''} moved by {np.linalg.norm(best.shift_mm):.0f} mm".strip()
        found = f"suspected misregistration: its body outline agrees with that of {ct_file} by {here:.2f}, "
        found += f"{how} by {best.correlation:.2f} (correlation)"
        return [Finding("warning", "registration", pet_file, found, "the best agreement without moving", REMEDY)]
    if here < LEAST_CORRELATION:
        found = f"suspected misregistration: its body outline agrees with that of {ct_file} by {here:.2f} only"
        remedy = "Check that both are of one patient and study, and of one orientation; then register them again."
        return [Finding("warning", "registration", pet_file, found, "a correlation of 0.8 or more", remedy)]
    return []


def _fits(ct: NDArray, pet: NDArray, spacing_mm: NDArray) -> tuple[float, list[Fit]]:
    """The correlation as it is, and the best fit of the PET as it is and mirrored along each axis."""
    reach = np.minimum(LARGEST_SHIFT_MM // spacing_mm, np.array(ct.shape) // 3).astype(int)
    maps = [shifted_correlation(ct, pet, reach)]
    maps += [shifted_correlation(ct, np.flip(pet, axis), reach) for axis in range(3)]
    fits = []
    for correlation, mirrored in zip(maps, ("", *AXES), strict=True):
        index = np.unravel_index(correlation.argmax(), correlation.shape)
        fits.append(Fit(float(correlation.max()), (np.array(index) - reach) * spacing_mm, mirrored))
    return float(maps[0][tuple(reach)]), fits


def shifted_correlation(
    fixed: NDArray, moving: NDArray, reach: Sequence[int] | NDArray[np.int_]
) -> NDArray[np.float64]:
    """Pearson correlation over the overlap, for every shift of `moving` by up to `reach` voxels per axis.

    Shape:
        fixed, moving: (d, h, w); result: (2 * reach + 1), no shift in its middle.
    """
    shape = [fft.next_fast_len(n + int(r), real=True) for n, r in zip(fixed.shape, reach, strict=True)]
    window = np.ix_(*[np.arange(-r, r + 1) % n for r, n in zip(reach, shape, strict=True)])

    def transformed(volume: NDArray) -> NDArray:
        return fft.rfftn(volume.astype(np.float64), shape)

    def summed(a: NDArray, b: NDArray) -> NDArray:
        """Sum over the overlap of the product, per shift; zeros beyond the border keep the ends apart."""
        return fft.irfftn(a * b.conj(), shape)[window]

    ones = transformed(np.ones(fixed.shape))
    a, a_squared, b, b_squared = (transformed(v) for v in (fixed, fixed**2, moving, moving**2))
    count = summed(ones, ones)
    sum_a, sum_b = summed(a, ones), summed(ones, b)
    covariance = summed(a, b) - sum_a * sum_b / count
    variance_a = summed(a_squared, ones) - sum_a**2 / count
    variance_b = summed(ones, b_squared) - sum_b**2 / count
    smallest = 1e-3 * count  # an overlap without any outline correlates with nothing
    defined = (variance_a > smallest) & (variance_b > smallest)
    return np.where(defined, covariance / np.sqrt(np.maximum(variance_a * variance_b, smallest**2)), 0.0)
