"""HECKTOR 2022, 2025 and 2026: primary tumor (GTVp) and lymph nodes (GTVn), each for itself."""

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.petct.evaluate.detection import detect
from h2aseg_nnunet.petct.evaluate.metrics import (
    HECKTOR_LABELS,
    aggregated_dice,
    dice,
    dice_or_agreement,
    overlap_mm3,
)
from h2aseg_nnunet.petct.evaluate.protocol import CaseArrays, MetricSettings, Pooled, Protocol

NODE_IOU = 0.3
"""Overlap above which HECKTOR 2025 calls a lymph node found."""

OVERLAPS = ("true_positive_mm3", "reference_mm3", "prediction_mm3")
"""Names of the volumes that make up the aggregated Dice."""

VOLUMES = tuple(f"{key}_{label}" for label in HECKTOR_LABELS for key in OVERLAPS)
NODES = ("true_positives_GTVn", "false_positives_GTVn", "false_negatives_GTVn")
PATIENT_DICE = tuple(f"patient_dice_{name}" for name in HECKTOR_LABELS)


def overlaps(arrays: CaseArrays, settings: MetricSettings) -> dict[str, float]:
    """Compute Dice and the volumes of each label."""
    values = {f"dice_{name}": dice(*_masks(arrays, label)) for name, label in HECKTOR_LABELS.items()}
    for name, label in HECKTOR_LABELS.items():
        volumes = overlap_mm3(arrays.reference, arrays.prediction, arrays.spacing_mm, label)
        values |= {f"{key}_{name}": volume for key, volume in zip(OVERLAPS, volumes, strict=True)}
    return values


def patient_dice(arrays: CaseArrays, settings: MetricSettings) -> dict[str, float]:
    """Compute a Dice of each label that every patient has: 1 if it is rightly absent, 0 if it is only predicted."""
    values = {f"patient_dice_{name}": dice_or_agreement(*_masks(arrays, n)) for name, n in HECKTOR_LABELS.items()}
    return values | overlaps(arrays, settings)


def patient_dice_and_nodes(arrays: CaseArrays, settings: MetricSettings) -> dict[str, float]:
    """Compute Dice as `patient_dice` does, and count the lymph nodes that were found, one by one."""
    nodes = detect(*_masks(arrays, HECKTOR_LABELS["GTVn"]), NODE_IOU, strictly=True, one_to_one=True)
    counts = (
        nodes.found_lesions,
        nodes.predicted_lesions - nodes.true_lesions,
        nodes.reference_lesions - nodes.found_lesions,
    )
    return patient_dice(arrays, settings) | dict(zip(NODES, counts, strict=True))


def _masks(arrays: CaseArrays, label: int) -> tuple[NDArray, NDArray]:
    return np.equal(arrays.reference, label), np.equal(arrays.prediction, label)


def _aggregated(sums: NDArray, cases: int, absent: float) -> dict[str, float]:
    by_label = aggregated_dice(sums.reshape(len(HECKTOR_LABELS), 1, len(OVERLAPS)), absent)
    return dict(zip(HECKTOR_LABELS, by_label.tolist(), strict=True)) | {"mean": float(by_label.mean())}


def _ranked_2025(sums: NDArray, cases: int) -> dict[str, float]:
    dice_sum, volumes, (true, false, missed) = sums[0], sums[1:4], sums[4:]
    lesions = 2 * true + false + missed
    return {
        "mean_dice_GTVp": float(dice_sum / cases),
        "aggregated_dice_GTVn": float(aggregated_dice(volumes[None], absent=1.0)),
        "aggregated_f1_GTVn": float(2 * true / lesions) if lesions else 1.0,
    }


def _ranked_2026(sums: NDArray, cases: int) -> dict[str, float]:
    means = (sums / cases).tolist()
    return {"mean_dice_GTVp": means[0], "mean_dice_GTVn": means[1], "mean": sum(means) / 2}


def _aggregated_dice(absent: float) -> Pooled:
    return Pooled("aggregated_dice", VOLUMES, partial(_aggregated, absent=absent))


RANKED_2025 = Pooled("ranked", (PATIENT_DICE[0], *VOLUMES[3:], *NODES), _ranked_2025)
RANKED_2026 = Pooled("ranked", PATIENT_DICE, _ranked_2026)
SCREEN = (*(f"dice_{name}" for name in HECKTOR_LABELS), *NODES)

PROTOCOLS = {
    "hecktor22": Protocol(overlaps, HECKTOR_LABELS, (_aggregated_dice(math.nan),), "empty", resamples=True),
    "hecktor25": Protocol(
        patient_dice_and_nodes, HECKTOR_LABELS, (RANKED_2025, _aggregated_dice(1.0)), "empty", screen=SCREEN
    ),
    "hecktor26": Protocol(patient_dice, HECKTOR_LABELS, (RANKED_2026,), "empty", screen=SCREEN),
}
