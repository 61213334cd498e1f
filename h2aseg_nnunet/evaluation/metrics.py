"""Metrics on arrays; each states its value when reference or prediction is empty."""

from numpy.typing import NDArray


def dice(reference: NDArray, prediction: NDArray) -> float:
    """Overlap of two masks: 0 if disjoint, 1 if equal.

    An empty reference gives NaN, whatever the prediction: such a case tells nothing about overlap, and means over
    cases should leave it out. An empty prediction of a lesion gives 0.
    """
    reference, prediction = reference.astype(bool), prediction.astype(bool)
    if not reference.any():
        return float("nan")
    return float(2 * (reference & prediction).sum() / (reference.sum() + prediction.sum()))
