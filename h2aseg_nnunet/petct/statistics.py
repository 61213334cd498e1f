"""Summaries of cases and their paired differences.

A case is the unit: its values from several seeds are averaged before. Any order of the cases gives the same figures.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

RESAMPLES = 2000
INTERVAL_PERCENT = (2.5, 97.5)

Cases = Mapping[str, float]


class Difference(NamedTuple):
    """Differences of a trainer from the reference trainer, over the cases in which both have a value.

    Attributes:
        mean: Mean of trainer minus reference.
        median: Median of trainer minus reference.
        interval_95: 95 % interval of the mean, by percentile bootstrap over cases.
        num_cases: Number of cases that have a value from both.
        larger: Number of cases in which the trainer's value is larger than the reference's.
        smaller: Number of cases in which the trainer's value is smaller.
        wilcoxon_p: p of the two-sided signed-rank test.
        holm_p: The same p, corrected for the number of trainers that are compared with the reference.
    """

    mean: float
    median: float
    interval_95: list[float]
    num_cases: int
    larger: int
    smaller: int
    wilcoxon_p: float
    holm_p: float = math.nan


def summarize(values: Sequence[float], seed: int = 0) -> dict[str, Any]:
    """Return mean and median of the values that are defined, and how many are not.

    Args:
        values: One value per case; NaN where undefined.
        seed: Seed of the bootstrap.

    Returns:
        `mean`, `median`, `interval_95` of the mean (percentile bootstrap over cases), and the number of cases
        `undefined`. All but the number are NaN if no value is defined.
    """
    column = np.asarray(values, np.float64)
    defined = np.sort(column[~np.isnan(column)])  # any order of the cases gives the same sums and draws
    undefined = len(column) - len(defined)
    if not len(defined):
        return {"mean": math.nan, "median": math.nan, "interval_95": [math.nan, math.nan], "undefined": undefined}
    means = draw_resamples(len(defined), seed) @ defined / len(defined)
    return {
        "mean": float(defined.mean()),
        "median": float(np.median(defined)),
        "interval_95": interval(means),
        "undefined": undefined,
    }


def draw_resamples(num_cases: int, seed: int) -> NDArray:
    """Return how often each bootstrap resample draws each case: (RESAMPLES, num_cases)."""
    return np.random.default_rng(seed).multinomial(num_cases, np.full(num_cases, 1 / num_cases), RESAMPLES)


def interval(values: NDArray) -> list[float]:
    """Return the central 95 % of the resamples in which the value is defined."""
    defined = values[~np.isnan(values)]
    return np.percentile(defined, INTERVAL_PERCENT).tolist() if len(defined) else [math.nan, math.nan]


def case_means(runs: Sequence[Cases]) -> dict[str, float]:
    """Average each case over the runs that predicted it; NaN where it is undefined in all of them."""
    values: dict[str, list[float]] = {}
    for run in runs:
        for case, value in run.items():
            values.setdefault(case, []).append(value)
    defined = {case: [value for value in found if not math.isnan(value)] for case, found in values.items()}
    return {case: float(np.mean(found)) if found else math.nan for case, found in sorted(defined.items())}


def paired_differences(reference: Cases, other: Cases) -> dict[str, float]:
    """Subtract reference from other in the cases in which both are defined."""
    differences = {case: other[case] - reference[case] for case in sorted(reference.keys() & other.keys())}
    return {case: value for case, value in differences.items() if not math.isnan(value)}


def describe(differences: Sequence[float], seed: int = 0) -> Difference:
    """Return mean, interval and test of paired differences; NaN without any."""
    values = np.asarray(differences, np.float64)
    summary = summarize(differences, seed)
    return Difference(
        mean=summary["mean"],
        median=summary["median"],
        interval_95=summary["interval_95"],
        num_cases=len(values),
        larger=int(np.count_nonzero(values > 0)),
        smaller=int(np.count_nonzero(values < 0)),
        wilcoxon_p=wilcoxon_p(differences),
    )


def wilcoxon_p(differences: Sequence[float]) -> float:
    """Return p of the two-sided signed-rank test; equal cases are left out, 1 if all are equal, NaN without cases."""
    values = np.asarray(differences, np.float64)
    if not len(values):
        return math.nan
    unequal = values[values != 0]
    return float(stats.wilcoxon(unequal).pvalue) if len(unequal) else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values by Holm's step-down method, in the order given; NaN stays NaN and is no test."""
    corrected = [math.nan] * len(p_values)
    tests = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
    largest = 0.0
    for rank, (p, index) in enumerate(tests):
        largest = max(largest, min(1.0, (len(tests) - rank) * p))
        corrected[index] = largest
    return corrected
