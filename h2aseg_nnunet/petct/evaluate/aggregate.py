"""Figures of a cohort: each value summarized, and what a protocol computes of all cases together."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from h2aseg_nnunet.petct.evaluate.protocols import Pooled, pooled
from h2aseg_nnunet.petct.statistics import draw_resamples, interval, summarize


def aggregate(protocol: str, cases: Sequence[Mapping[str, float]], seed: int = 0) -> dict[str, Any]:
    """Summarise every value of the cases, after what the protocol computes of all cases together.

    Args:
        protocol: One of `PROTOCOLS`.
        cases: `measure` of each case, and further values; all have the same names.
        seed: Seed of the bootstrap.

    Returns:
        `summarize` by value; for HECKTOR and "lesion" also the pooled figure and its `..._interval_95`.
    """
    figure = pooled(protocol)
    together = {} if figure is None else _pool(figure, cases, seed)
    return together | {name: summarize([case[name] for case in cases], seed) for name in cases[0]}


def _pool(figure: Pooled, cases: Sequence[Mapping[str, float]], seed: int) -> dict[str, dict]:
    columns = np.array([[case[name] for name in figure.columns] for case in cases], np.float64)
    columns = columns[np.lexsort(columns.T)]
    drawn = [figure.score(sums) for sums in draw_resamples(len(cases), seed) @ columns]
    estimate = figure.score(columns.sum(axis=0))
    intervals = {part: interval(np.array([scores[part] for scores in drawn])) for part in estimate}
    return {figure.name: estimate, f"{figure.name}_interval_95": intervals}
