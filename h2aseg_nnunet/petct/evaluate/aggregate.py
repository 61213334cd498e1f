"""Figures of all cases: every value's mean and interval, after what is computed of the cases together."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from h2aseg_nnunet.petct.evaluate.protocol import Pooled
from h2aseg_nnunet.petct.evaluate.protocols import find_protocol
from h2aseg_nnunet.petct.statistics import draw_resamples, interval, summarize


def aggregate(protocol: str, cases: Sequence[Mapping[str, float]], seed: int = 0) -> dict[str, Any]:
    """Summarize every value of the cases, after what the protocol computes of all cases together.

    Args:
        protocol: One of `PROTOCOLS`.
        cases: What `measure` gives for each case, and further values; all have the same names.
        seed: Seed of the bootstrap.

    Returns:
        `summarize` by value; before it the protocol's pooled figures, each with its `..._interval_95`.
    """
    together: dict[str, Any] = {}
    for figure in find_protocol(protocol).pooled:
        if set(figure.columns) <= cases[0].keys():
            together |= _pool(figure, cases, seed)
    return together | {name: summarize([case[name] for case in cases], seed) for name in cases[0]}


def _pool(figure: Pooled, cases: Sequence[Mapping[str, float]], seed: int) -> dict[str, dict]:
    columns = np.array([[case[name] for name in figure.columns] for case in cases], np.float64)
    columns = columns[np.lexsort(columns.T)]  # any order of the cases gives the same draws
    drawn = [figure.score(sums, len(cases)) for sums in draw_resamples(len(cases), seed) @ columns]
    estimate = figure.score(columns.sum(axis=0), len(cases))
    intervals = {part: interval(np.array([scores[part] for scores in drawn])) for part in estimate}
    return {figure.name: estimate, f"{figure.name}_interval_95": intervals}
