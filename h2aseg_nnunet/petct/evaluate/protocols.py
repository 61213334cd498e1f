"""What each challenge computes of a case, and over all cases."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.evaluate.detection import Detection, detect
from h2aseg_nnunet.petct.evaluate.metrics import (
    HECKTOR_LABELS,
    aggregated_dice,
    dice,
    dice_unguarded,
    false_negative_volume_ml,
    false_negative_volume_ml_unguarded,
    false_positive_volume_ml,
    overlap_mm3,
)

PROTOCOLS = ("autopet", "autopet2", "hecktor22", "hecktor25", "lesion")
HECKTOR = ("hecktor22", "hecktor25")

OVERLAPS = ("true_positive_mm3", "reference_mm3", "prediction_mm3")
"""Names of the volumes that make up HECKTOR's score."""


class MaskPair(NamedTuple):
    """Two masks to be compared, and what their values' names end in."""

    suffix: str
    reference: NDArray
    prediction: NDArray


def mask_pairs(protocol: str, reference: NDArray, prediction: NDArray) -> Iterator[MaskPair]:
    """The masks that a protocol compares: each HECKTOR label, else tumour of any label."""
    if protocol in HECKTOR:
        for name, label in HECKTOR_LABELS.items():
            yield MaskPair(f"_{name}", np.equal(reference, label), np.equal(prediction, label))
    else:
        yield MaskPair("", np.not_equal(reference, 0), np.not_equal(prediction, 0))


def measure(
    protocol: str,
    reference: NDArray,
    prediction: NDArray,
    spacing_mm: Sequence[float],
    minimum_iou: float | None = None,
) -> dict[str, float]:
    """What a challenge computes of one case; see docs/evaluate.md.

    Args:
        protocol: One of `PROTOCOLS`.
        reference: 2D or 3D label map.
        prediction: Label map on the same grid.
        spacing_mm: Of the voxels, in the order of the arrays' axes.
        minimum_iou: For "lesion": see `detect`.

    Returns:
        Values by name; undefined ones are NaN.

    Raises:
        UserError: If the protocol is unknown, or the arrays or spacing_mm do not fit.
    """
    if protocol not in PROTOCOLS:
        raise UserError(f"metrics must be one of {', '.join(PROTOCOLS)}, not {protocol!r}.")
    if protocol in HECKTOR:
        return _hecktor(reference, prediction, spacing_mm)
    (masks,) = mask_pairs(protocol, reference, prediction)
    if protocol == "lesion":
        detection = detect(masks.reference, masks.prediction, minimum_iou)
        return _scores(detection) | detection._asdict()
    guarded = protocol == "autopet"
    false_negative = false_negative_volume_ml if guarded else false_negative_volume_ml_unguarded
    return {
        "dice": (dice if guarded else dice_unguarded)(masks.reference, masks.prediction),
        "false_positive_volume_ml": false_positive_volume_ml(masks.reference, masks.prediction, spacing_mm),
        "false_negative_volume_ml": false_negative(masks.reference, masks.prediction, spacing_mm),
    }


def _hecktor(reference: NDArray, prediction: NDArray, spacing_mm: Sequence[float]) -> dict[str, float]:
    values = {}
    for name, label in HECKTOR_LABELS.items():
        values[f"dice_{name}"] = dice(np.equal(reference, label), np.equal(prediction, label))
    for name, label in HECKTOR_LABELS.items():
        overlap = overlap_mm3(reference, prediction, spacing_mm, label)
        values |= {f"{key}_{name}": volume for key, volume in zip(OVERLAPS, overlap, strict=True)}
    return values


def _scores(detection: Detection) -> dict[str, float]:
    return {"sensitivity": detection.sensitivity, "precision": detection.precision, "F1": detection.f1}


class Pooled(NamedTuple):
    """A figure of all cases together.

    Attributes:
        name: Of the figure.
        columns: Values of each case to be added up over the cases.
        score: Makes the figure's parts, by name, of these sums.
    """

    name: str
    columns: tuple[str, ...]
    score: Callable[[NDArray], dict[str, float]]


def pooled(protocol: str) -> Pooled | None:
    """HECKTOR's aggregated Dice, or the detection of all lesions as if of one case; AutoPET pools nothing."""
    if protocol in HECKTOR:
        columns = tuple(f"{key}_{label}" for label in HECKTOR_LABELS for key in OVERLAPS)
        absent = 1.0 if protocol == "hecktor25" else math.nan
        return Pooled("aggregated_dice", columns, partial(_aggregated_dice, absent=absent))
    if protocol == "lesion":
        return Pooled("pooled", Detection._fields, lambda counts: _scores(Detection(*counts.tolist())))
    return None


def _aggregated_dice(sums_mm3: NDArray, absent: float) -> dict[str, float]:
    by_label = aggregated_dice(sums_mm3.reshape(len(HECKTOR_LABELS), 1, len(OVERLAPS)), absent)
    return dict(zip(HECKTOR_LABELS, by_label.tolist(), strict=True)) | {"mean": float(by_label.mean())}
