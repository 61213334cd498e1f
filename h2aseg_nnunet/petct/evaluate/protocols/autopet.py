"""AutoPET I to V: overlap, and the volumes of lesions that were missed or invented."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid

from h2aseg_nnunet.petct.evaluate.detection import detect
from h2aseg_nnunet.petct.evaluate.metrics import (
    dice,
    dice_or_agreement,
    dice_unguarded,
    false_negative_volume_ml,
    false_negative_volume_ml_unguarded,
    false_positive_volume_ml,
)
from h2aseg_nnunet.petct.evaluate.protocol import CaseArrays, MetricSettings, Protocol

DMM_IOU = 0.1
"""Overlap from which AutoPET V calls a lesion matched."""

Measure = Callable[[NDArray, NDArray, tuple[float, ...]], float]


def _plain(metric: Callable[[NDArray, NDArray], float]) -> Measure:
    return lambda reference, prediction, spacing_mm: metric(reference, prediction)


def detection_matching(reference: NDArray, prediction: NDArray) -> float:
    """Return AutoPET V's detection-matching metric, DMM: F1 of lesions that overlap by `DMM_IOU` or more.

    A lesion may be matched by several, which is not punished. NaN without a reference.
    """
    return detect(reference, prediction, DMM_IOU).f1_of_found


GUARDED: Mapping[str, Measure] = {
    "dice": _plain(dice),
    "false_positive_volume_ml": false_positive_volume_ml,
    "false_negative_volume_ml": false_negative_volume_ml,
}
UNGUARDED: Mapping[str, Measure] = {
    "dice": _plain(dice_unguarded),
    "false_positive_volume_ml": false_positive_volume_ml,
    "false_negative_volume_ml": false_negative_volume_ml_unguarded,
}
DMM: Mapping[str, Measure] = {"dmm": _plain(detection_matching)}
STEPS_4: Mapping[str, Measure] = {**GUARDED, **DMM}
STEPS_5: Mapping[str, Measure] = {**GUARDED, **DMM, "dice": _plain(dice_or_agreement)}


def measure_once(arrays: CaseArrays, settings: MetricSettings, measures: Mapping[str, Measure]) -> dict[str, float]:
    """Compute measures of one pair of masks; several labels are one mask of tumor."""
    masks = np.not_equal(arrays.reference, 0), np.not_equal(arrays.prediction, 0)
    return {name: metric(*masks, arrays.spacing_mm) for name, metric in measures.items()}


def measure_steps(arrays: CaseArrays, settings: MetricSettings, measures: Mapping[str, Measure]) -> dict[str, float]:
    """Compute measures of the last step, the areas under their curves, and the values of every step."""
    steps = [measure_once(arrays._replace(predictions=(p,)), settings, measures) for p in arrays.predictions]
    areas = {f"auc_{name}": float(trapezoid([step[name] for step in steps])) for name in measures}
    by_step = {f"{name}_step_{index}": step[name] for name in measures for index, step in enumerate(steps)}
    return steps[-1] | areas | by_step


def _interactive(measures: Mapping[str, Measure], steps: int) -> Protocol:
    screen = (*measures, *(f"auc_{name}" for name in measures))
    return Protocol(partial(measure_steps, measures=measures), steps=steps, screen=screen)


PROTOCOLS = {
    "autopet": Protocol(partial(measure_once, measures=GUARDED)),
    "autopet2": Protocol(partial(measure_once, measures=UNGUARDED)),
    "autopet4": _interactive(STEPS_4, steps=11),
    "autopet5": _interactive(STEPS_5, steps=6),
}
