"""Figures of a cohort: mean, median and 95 % bootstrap intervals, the same for any order of the cases."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.petct.evaluate.protocols import Pooled, pooled

RESAMPLES = 2000
INTERVAL_PERCENT = (2.5, 97.5)


def aggregate(protocol: str, cases: Sequence[Mapping[str, float]], seed: int = 0) -> dict[str, Any]:
    """Summarise every value of the cases, after what the protocol computes of all cases together.

    Args:
        protocol: One of `PROTOCOLS`.
        cases: `measure` of each case, and further values; all have the same names.
        seed: Of the bootstrap.

    Returns:
        `summarize` by value; for HECKTOR and "lesion" also the pooled figure and its `..._interval_95`.
    """
    figure = pooled(protocol)
    together = {} if figure is None else _pool(figure, cases, seed)
    return together | {name: summarize([case[name] for case in cases], seed) for name in cases[0]}


def summarize(values: Sequence[float], seed: int = 0) -> dict[str, Any]:
    """Mean and median of the values that are defined, and how many are not.

    Args:
        values: One per case; NaN where undefined.
        seed: Of the bootstrap.

    Returns:
        `mean`, `median`, `interval_95` of the mean (percentile bootstrap over cases), number of cases `undefined`.
        All but the number are NaN if no value is defined.
    """
    column = np.asarray(values, np.float64)
    defined = np.sort(column[~np.isnan(column)])  # any order of the cases gives the same sums and draws
    undefined = len(column) - len(defined)
    if not len(defined):
        return {"mean": math.nan, "median": math.nan, "interval_95": [math.nan, math.nan], "undefined": undefined}
    means = _draws(len(defined), seed) @ defined / len(defined)
    return {
        "mean": float(defined.mean()),
        "median": float(np.median(defined)),
        "interval_95": _interval(means),
        "undefined": undefined,
    }


def _pool(figure: Pooled, cases: Sequence[Mapping[str, float]], seed: int) -> dict[str, dict]:
    columns = np.array([[case[name] for name in figure.columns] for case in cases], np.float64)
    columns = columns[np.lexsort(columns.T)]
    drawn = [figure.score(sums) for sums in _draws(len(cases), seed) @ columns]
    estimate = figure.score(columns.sum(axis=0))
    intervals = {part: _interval(np.array([scores[part] for scores in drawn])) for part in estimate}
    return {figure.name: estimate, f"{figure.name}_interval_95": intervals}


def _draws(num_cases: int, seed: int) -> NDArray:
    """How often each resample draws each case: (RESAMPLES, num_cases)."""
    return np.random.default_rng(seed).multinomial(num_cases, np.full(num_cases, 1 / num_cases), RESAMPLES)


def _interval(values: NDArray) -> list[float]:
    """Central 95 % of the resamples in which the value is defined."""
    defined = values[~np.isnan(values)]
    return np.percentile(defined, INTERVAL_PERCENT).tolist() if len(defined) else [math.nan, math.nan]
