"""DEEP-PSMA: AutoPET's three, the agreement of the outermost voxels, and of the two biomarkers."""

import math

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.petct.evaluate.metrics import shared_surface
from h2aseg_nnunet.petct.evaluate.protocol import CaseArrays, MetricSettings, Protocol
from h2aseg_nnunet.petct.evaluate.protocols.autopet import UNGUARDED, measure_once
from h2aseg_nnunet.petct.evaluate.uptake import tumor_burden


def disease_burden(arrays: CaseArrays, settings: MetricSettings) -> dict[str, float]:
    """Compute the six measures of a scan that the challenge ranks."""
    masks: tuple[NDArray, NDArray] = (np.not_equal(arrays.reference, 0), np.not_equal(arrays.prediction, 0))
    assert arrays.suv is not None  # `needs_suv`
    reference, prediction = (tumor_burden(mask, arrays.suv, arrays.spacing_mm) for mask in masks)
    return measure_once(arrays, settings, UNGUARDED) | {
        "surface_dice": shared_surface(*masks),
        "suv_mean_agreement_percent": agreement_percent(reference.suv_mean, prediction.suv_mean),
        "volume_agreement_percent": agreement_percent(reference.tmtv_ml, prediction.tmtv_ml),
    }


def agreement_percent(reference: float, prediction: float) -> float:
    """Return 100 minus the relative difference in percent, which falls below 0 beyond twice the reference.

    NaN if the reference is 0, or either is undefined.
    """
    if reference == 0 or math.isnan(reference):
        return math.nan
    return 100 * (1 - abs(prediction - reference) / abs(reference))


PROTOCOLS = {"deeppsma": Protocol(disease_burden, needs_suv=True, surface=True)}
