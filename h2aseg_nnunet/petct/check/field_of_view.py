"""Whether CT and PET cover the same part of the patient, from the values that stand where one was not measured."""

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.petct.check.coarse import Pair, depth_mm
from h2aseg_nnunet.petct.check.findings import Finding, Severity
from h2aseg_nnunet.petct.check.values import is_soft_tissue

MARGIN_MM = 6.0
"""PET blurs 5 to 8 mm across the skin, into air that a CT may well have clipped to one value."""
ACTIVE = 0.5  # of soft tissue's median uptake: fat is above it, the noise in air is not
WARNING_SHARE = 0.05
"""A CT's 50 cm circle may cut skin or a hand, a few per cent of the body at most; a missing arm or slab is more."""
NOTE_SHARE = 0.01


def unmeasured(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Voxels whose neighbors along every axis have exactly the same value: padding. Measured values carry noise."""
    equal = np.ones(values.shape, bool)
    for axis in range(values.ndim):
        same = np.diff(values, axis=axis) == 0
        after, before = np.moveaxis(equal, axis, 0)[1:], np.moveaxis(equal, axis, 0)[:-1]
        after &= np.moveaxis(same, axis, 0)
        before &= np.moveaxis(same, axis, 0)
    return equal


def check_field_of_view(pair: Pair, ct_file: str, pet_file: str) -> list[Finding]:
    """CT padding where PET has activity, and PET without any counts where CT shows soft tissue."""
    soft_tissue = is_soft_tissue(pair.ct)
    ct_padding, pet_padding = unmeasured(pair.ct), unmeasured(pair.pet)
    measured = soft_tissue & ~ct_padding  # padding may be 0 HU
    if not measured.any():
        return []
    active = pair.pet > ACTIVE * np.median(pair.pet[measured])
    return [
        *_missing(active, ct_padding, pair, "CT", "PET has activity", ct_file),
        *_missing(measured, pet_padding, pair, "PET", "CT shows soft tissue", pet_file),
    ]


def _missing(
    there: NDArray[np.bool_], padding: NDArray[np.bool_], pair: Pair, modality: str, where: str, file: str
) -> list[Finding]:
    missing = there & padding
    if missing.sum() < NOTE_SHARE * there.sum():
        return []  # spares the distances of most images
    missing &= depth_mm(padding, pair.spacing_mm) >= MARGIN_MM
    if (share := float(missing.sum() / max(1, there.sum()))) < NOTE_SHARE:
        return []
    values = {"CT": pair.ct, "PET": pair.pet}[modality][missing]
    found = (
        f"{modality} is padding (mostly {float(np.median(values)):g}) in {share:.1%} of the volume where {where} "
        f"({missing.sum() * pair.voxel_ml:.0f} ml)"
    )
    remedy = f"Crop both images to the region that both cover; {modality} cannot help outside of it."
    severity: Severity = "warning" if share >= WARNING_SHARE else "note"
    return [Finding(severity, "field-of-view", file, found, "both to cover the patient", remedy)]
