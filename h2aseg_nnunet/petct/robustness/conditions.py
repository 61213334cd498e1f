"""What may be wrong with an input: a modality is missing, or CT does not lie on the PET."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.perturb import move_rigidly, without


class Condition(NamedTuple):
    """What is done to an image between nnU-Net's preprocessing and its sliding window.

    Attributes:
        name: Its name in files.
        description: Its name in tables and figures.
        missing: Modality whose channels hold their mean everywhere; None if nothing is missing.
        ct_shift_voxels: Shift of the CT against PET and label, along the last axis, toward higher indices.
    """

    name: str
    description: str
    missing: str | None = None
    ct_shift_voxels: float = 0.0

    def apply(self, data: Tensor, channels: Mapping[str, Sequence[int]]) -> Tensor:
        """Return the altered image (c, *); the given one stays as it is.

        Args:
            data: Preprocessed image (c, *).
            channels: Channels of each modality.
        """
        if self.missing is not None:
            return without(data, channels[self.missing])
        return shifted(data, channels["CT"], self.ct_shift_voxels) if self.ct_shift_voxels else data


INTACT = Condition("intact", "intact")


def make_conditions(shifts_voxels: Sequence[float]) -> list[Condition]:
    """Make the conditions: intact, PET missing, CT missing, then CT shifted by each of the shifts.

    Raises:
        UserError: If a shift is 0 or not finite, or given twice.
    """
    for shift in shifts_voxels:
        if not math.isfinite(shift) or shift == 0:
            raise UserError(f"--shifts {shift:g}: a number of voxels other than 0 is expected; 0 is the intact input.")
    if len(set(shifts_voxels)) < len(shifts_voxels):
        raise UserError(f"--shifts {' '.join(f'{shift:g}' for shift in shifts_voxels)}: give each only once.")
    missing = [Condition(f"{name}_missing", f"{name} missing", missing=name) for name in ("PET", "CT")]
    moved = [
        Condition(f"CT_shifted_{shift:g}", f"CT shifted by {shift:g}", ct_shift_voxels=shift) for shift in shifts_voxels
    ]
    return [INTACT, *missing, *moved]


def shifted(data: Tensor, channels: Sequence[int], shift_voxels: float) -> Tensor:
    """Move channels of a preprocessed image (c, *) along the last axis, which spans slices in nnU-Net.

    What comes in from outside takes the value at the image's edge.
    """
    dimension = data.ndim - 1
    shifts = [0.0] * (dimension - 1) + [shift_voxels]
    no_angles = [0.0] * (3 if dimension == 3 else 1)
    moved = data.clone()
    moved[list(channels)] = move_rigidly(data[list(channels)], no_angles, shifts, spacing_mm=[1.0] * dimension)
    return moved
