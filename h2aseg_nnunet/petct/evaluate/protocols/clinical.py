"""What a clinic reads off a mask: volumes, uptake, spread, and whom the model calls ill."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.petct.evaluate.organs import organ_volumes_ml, read_organs
from h2aseg_nnunet.petct.evaluate.protocol import CaseArrays, MetricSettings, Pooled, Protocol, compared
from h2aseg_nnunet.petct.evaluate.spread import dmax_mm
from h2aseg_nnunet.petct.evaluate.uptake import highest_peak, volume_above_share_ml, volume_above_suv_ml
from h2aseg_nnunet.petct.images.lesions import Lesion, lesions

VOLUME_CLASSES_ML = {"below_1_ml": 0.0, "1_to_5_ml": 1.0, "5_to_20_ml": 5.0, "from_20_ml": 20.0}
"""Class of reference lesions -> its least volume."""

SUV_CLASSES = {"suv_below_2.5": -math.inf, "suv_2.5_to_4": 2.5, "suv_4_to_10": 4.0, "suv_from_10": 10.0}
"""Class of reference lesions -> its least SUVmax. 2.5 and 4 are the limits of the fixed rules."""

FIXED_RULES_SUV = {"suv_4": 4.0, "suv_2.5": 2.5}
SHARE_OF_MAXIMUM = 0.41

PATIENTS = ("true_positive_patient", "false_negative_patient", "false_positive_patient", "true_negative_patient")


def clinical(arrays: CaseArrays, settings: MetricSettings) -> dict[str, float]:
    """Compute all that the masks tell, and with PET and an organ map what these add."""
    reference, prediction = np.not_equal(arrays.reference, 0), np.not_equal(arrays.prediction, 0)
    spacing_mm = arrays.spacing_mm
    of_reference = lesions(reference, spacing_mm, prediction, arrays.suv)
    of_prediction = lesions(prediction, spacing_mm, reference, arrays.suv)
    values = {"over_segmentation_ratio": _ratio(reference, prediction)}
    values |= compared("dmax_mm", dmax_mm(of_reference, spacing_mm), dmax_mm(of_prediction, spacing_mm))
    values |= _decision(bool(of_reference), bool(of_prediction))
    values |= _by_class([lesion.volume_ml for lesion in of_reference], of_reference, VOLUME_CLASSES_ML)
    values["false_lesions"] = sum(not lesion.touched for lesion in of_prediction)
    if arrays.suv is not None:
        values |= _by_class([lesion.suv_max or 0.0 for lesion in of_reference], of_reference, SUV_CLASSES)
        values |= _uptake(arrays, reference, prediction, arrays.suv)
    if arrays.organs is not None:
        organs = read_organs(settings.organ_labels)
        both = (organ_volumes_ml(mask, arrays.organs, spacing_mm, organs) for mask in (reference, prediction))
        of_one, of_other = both
        for organ in organs | {"elsewhere": ()}:
            if organ in of_one or organ in of_other:
                values |= compared(f"organ_ml_{organ}", of_one.get(organ, 0.0), of_other.get(organ, 0.0))
    return values


def _ratio(reference: NDArray, prediction: NDArray) -> float:
    voxels = np.count_nonzero(reference)
    return np.count_nonzero(prediction) / voxels if voxels else math.nan


def _decision(ill: bool, called_ill: bool) -> dict[str, float]:
    """Which of `PATIENTS` this one is: 1 for one of them, 0 for the others."""
    which = (ill and called_ill, ill and not called_ill, called_ill and not ill, not ill and not called_ill)
    return dict(zip(PATIENTS, map(int, which), strict=True))


def _by_class(sizes: Sequence[float], found: Sequence[Lesion], classes: dict[str, float]) -> dict[str, float]:
    """Count the lesions of each class, and those of them that share a voxel with the prediction."""
    limits = [*classes.values(), math.inf]
    values: dict[str, float] = {}
    for name, low, high in zip(classes, limits, limits[1:], strict=False):
        of_class = [lesion for size, lesion in zip(sizes, found, strict=True) if low <= size < high]
        values[f"lesions_{name}"] = len(of_class)
        values[f"found_{name}"] = sum(lesion.touched for lesion in of_class)
    return values


def _uptake(arrays: CaseArrays, reference: NDArray, prediction: NDArray, suv: NDArray) -> dict[str, float]:
    masks, spacing_mm = (reference, prediction), arrays.spacing_mm
    values = compared("suv_peak", *(highest_peak(mask, suv, spacing_mm) for mask in masks))
    rules = FIXED_RULES_SUV | ({} if arrays.organs is None else {"percist_liver": arrays.liver_suv})
    for name, threshold in rules.items():
        volumes = (volume_above_suv_ml(mask, suv, spacing_mm, threshold) for mask in masks)
        values |= compared(f"tmtv_ml_{name}", *volumes)
    shares = (volume_above_share_ml(mask, suv, spacing_mm, SHARE_OF_MAXIMUM) for mask in masks)
    return values | compared("tmtv_ml_41_percent", *shares)


def _shares(sums: NDArray, cases: int, classes: Sequence[str]) -> dict[str, float]:
    """Share of the lesions of each class that were found."""
    pairs = zip(classes, sums.reshape(-1, 2).tolist(), strict=True)
    return {name: found / there if there else math.nan for name, (there, found) in pairs}


def _patients(sums: NDArray, cases: int) -> dict[str, float]:
    found, missed, invented, spared = sums.tolist()
    return {
        "sensitivity": found / (found + missed) if found + missed else math.nan,
        "specificity": spared / (spared + invented) if spared + invented else math.nan,
    }


def _detection(name: str, classes: dict[str, float]) -> Pooled:
    columns = tuple(f"{key}_{each}" for each in classes for key in ("lesions", "found"))
    return Pooled(name, columns, lambda sums, cases: _shares(sums, cases, list(classes)))


BOTH = ("reference", "prediction")
SCREEN = (
    "over_segmentation_ratio",
    *(f"{name}_{mask}" for name in ("tmtv_ml", "suv_peak", "dmax_mm") for mask in BOTH),
    "false_lesions",
)
POOLED = (
    Pooled("patients", PATIENTS, _patients),
    _detection("found_by_volume", VOLUME_CLASSES_ML),
    _detection("found_by_suv_max", SUV_CLASSES),
)
PROTOCOLS = {"clinical": Protocol(clinical, pooled=POOLED, screen=SCREEN)}
