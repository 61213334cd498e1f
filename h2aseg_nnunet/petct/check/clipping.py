"""Lesions below the floor to which nnU-Net clips a PET channel that is named "CT": their contrast is lost."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.errors import listing
from h2aseg_nnunet.petct.check.findings import Finding
from h2aseg_nnunet.petct.files import read_own_json
from h2aseg_nnunet.petct.nnunet.folders import preprocessed_splits

Uptakes = Mapping[str, Mapping[int, "LesionUptake"]]
"""By case and channel, the uptake of lesions."""

FINGERPRINT = "dataset_fingerprint.json"
FLOOR_PERCENTILE = 0.5
"""nnU-Net's, of the lesion voxels of all cases, each of which counts the same, however large its lesions are."""

QUANTILES = (np.arange(1000) + 0.5) / 1000
LARGEST_SHARE = 0.05
"""Of a case's lesion voxels: ten times what lies below the floor on average."""

CASES_IN_A_MESSAGE = 5


class LesionUptake(NamedTuple):
    """The uptake of a case's lesions.

    Attributes:
        quantiles: SUV at `QUANTILES` of its lesion voxels.
        voxels: Number of its lesion voxels.
    """

    quantiles: NDArray[np.float32]
    voxels: int

    def share_below(self, suv: float) -> float:
        """Share of the lesion voxels below a SUV."""
        return float(np.mean(self.quantiles < suv))


def lesion_uptake(pet: NDArray, lesion: NDArray[np.bool_]) -> LesionUptake | None:
    """Measure the uptake of lesions; None without any."""
    uptake = pet[lesion]
    return LesionUptake(np.quantile(uptake, QUANTILES).astype(np.float32), uptake.size) if uptake.size else None


def check_clipping(
    root: Path,
    content: Mapping[str, Any],
    pet_channels: Sequence[int],
    uptakes: Uptakes,
) -> list[Finding]:
    """Look for lesions below the floor.

    Args:
        root: The raw dataset.
        content: Its dataset.json.
        pet_channels: Its PET channels.
        uptakes: The lesions of the training cases.
    """
    findings = []
    for channel in pet_channels:
        of_channel = {case: by_channel[channel] for case, by_channel in uptakes.items() if channel in by_channel}
        if str(content["channel_names"].get(str(channel))).casefold() == "ct" and of_channel:
            findings += _below_floor(root, channel, of_channel)
    return findings


def _below_floor(root: Path, channel: int, uptakes: Mapping[str, LesionUptake]) -> list[Finding]:
    floor, file = _planned_floor(root, channel)
    if floor is None:
        floor = float(np.percentile([uptake.quantiles for uptake in uptakes.values()], FLOOR_PERCENTILE))
    shares = {case: uptake.share_below(floor) for case, uptake in uptakes.items()}
    faint = sorted((case for case in shares if shares[case] >= LARGEST_SHARE), key=lambda case: -shares[case])
    if not faint:
        return []
    voxels = sum(uptake.voxels for uptake in uptakes.values())
    below = sum(shares[case] * uptake.voxels for case, uptake in uptakes.items()) / voxels
    named = listing([f"{case} {shares[case]:.0%}" for case in faint], CASES_IN_A_MESSAGE)
    found = (
        f"{below:.1%} of the lesion voxels in channel {channel:04d} lie below SUV {floor:.3g}, to which nnU-Net clips "
        f"them, and {LARGEST_SHARE:.0%} or more in {len(faint)} of {len(uptakes)} cases with lesions ({named})"
    )
    remedy = (
        "Faint lesions lose contrast. Convert with --pet-channel SUV or PET, or name the channel noNorm or PET in "
        "dataset.json, then plan again; compare the networks."
    )
    return [Finding("warning", "pet-clipped", str(file), found, "lesions above nnU-Net's clipping", remedy)]


def _planned_floor(root: Path, channel: int) -> tuple[float | None, Path]:
    """The floor in the dataset's fingerprint, and where it stands; None and dataset.json before planning."""
    splits = preprocessed_splits(root.name)
    if splits is not None:
        file = splits.with_name(FINGERPRINT)
        properties = (read_own_json(file) or {}).get("foreground_intensity_properties_per_channel", {})
        floor = properties.get(str(channel), {}).get("percentile_00_5")
        if floor is not None:
            return float(floor), file
    return None, root / "dataset.json"
