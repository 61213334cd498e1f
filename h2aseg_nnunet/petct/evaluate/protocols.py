"""What each challenge computes of a case, and of all cases together."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.petct.evaluate import PROTOCOLS
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
from h2aseg_nnunet.petct.statistics import draw_resamples, interval, summarize

HECKTOR = ("hecktor22", "hecktor25")

OVERLAPS = ("true_positive_mm3", "reference_mm3", "prediction_mm3")
"""Names of the volumes that make up HECKTOR's score."""


class MaskPair(NamedTuple):
    """Two masks to be compared, and the ending of their values' names."""

    suffix: str
    reference: NDArray
    prediction: NDArray


def mask_pairs(protocol: str, reference: NDArray, prediction: NDArray) -> Iterator[MaskPair]:
    """Yield the masks that a protocol compares: each HECKTOR label, else tumor of any label."""
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
    """Compute what a challenge does of one case; see docs/evaluate.md.

    Args:
        protocol: One of `PROTOCOLS`.
        reference: Label map in 2D or 3D; voxels that nobody judged are background in both maps.
        prediction: Label map on the same grid.
        spacing_mm: Size of the voxels in the order of the arrays' axes.
        minimum_iou: Overlap that finds a lesion, for "lesion": see `detect`.

    Returns:
        Values by name; undefined ones are NaN.

    Raises:
        ValueError: If the protocol is unknown, or the arrays or spacing_mm do not fit.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"metrics must be one of {', '.join(PROTOCOLS)}, not {protocol!r}.")
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
        name: Name of the figure.
        columns: Values of each case that are added up over the cases.
        score: Computes the figure's parts, by name, from these sums.
    """

    name: str
    columns: tuple[str, ...]
    score: Callable[[NDArray], dict[str, float]]


def pooled(protocol: str) -> Pooled | None:
    """Return HECKTOR's aggregated Dice, or the detection of all lesions as if of one case; AutoPET pools nothing."""
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


def aggregate(protocol: str, cases: Sequence[Mapping[str, float]], seed: int = 0) -> dict[str, Any]:
    """Summarize every value of the cases, after what the protocol computes of all cases together.

    Args:
        protocol: One of `PROTOCOLS`.
        cases: What `measure` gives for each case, and further values; all have the same names.
        seed: Seed of the bootstrap.

    Returns:
        `summarize` by value; for HECKTOR and "lesion" also the pooled figure and its `..._interval_95`.
    """
    figure = pooled(protocol)
    together = {} if figure is None else _pool(figure, cases, seed)
    return together | {name: summarize([case[name] for case in cases], seed) for name in cases[0]}


def _pool(figure: Pooled, cases: Sequence[Mapping[str, float]], seed: int) -> dict[str, dict]:
    columns = np.array([[case[name] for name in figure.columns] for case in cases], np.float64)
    columns = columns[np.lexsort(columns.T)]  # any order of the cases gives the same draws
    drawn = [figure.score(sums) for sums in draw_resamples(len(cases), seed) @ columns]
    estimate = figure.score(columns.sum(axis=0))
    intervals = {part: interval(np.array([scores[part] for scores in drawn])) for part in estimate}
    return {figure.name: estimate, f"{figure.name}_interval_95": intervals}
