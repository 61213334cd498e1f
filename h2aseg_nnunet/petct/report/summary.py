"""Figures of a cohort: which cases are worst, how values are distributed, how volumes agree."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from h2aseg_nnunet.petct.report.judge import Measures


class Row(NamedTuple):
    """A case in the table of one class."""

    case: str
    measures: Measures

    @property
    def compared(self) -> bool:
        """Whether the case has a reference."""
        return self.measures.reference_volume_ml is not None


class Distribution(NamedTuple):
    """Number, mean, median and quartiles of the cases for which a measure is defined."""

    defined: int
    mean: float
    median: float
    lower_quartile: float
    upper_quartile: float


class Agreement(NamedTuple):
    """Bland and Altman's figures for predicted against reference volumes in ml."""

    bias: float
    lower_limit: float
    upper_limit: float


def worst_first(rows: Iterable[Row]) -> list[Row]:
    """Sort cases by Dice, then by the volume of missed and false lesions.

    A lesion-free case has no Dice: it ranks as 0 if anything is predicted, else as 1. Cases without reference come
    last, the largest predicted volume first.
    """
    return sorted(rows, key=_badness)


def _badness(row: Row) -> tuple[float, float, str]:
    measures = row.measures
    if not row.compared:
        return 2.0, -measures.volume_ml, row.case
    dice = measures.dice if measures.dice is not None else float(measures.volume_ml == 0)
    wrong_ml = (measures.false_positive_volume_ml or 0) + (measures.false_negative_volume_ml or 0)
    return dice, -wrong_ml, row.case


def distribution(values: Iterable[float | None]) -> Distribution | None:
    """Summarize the values that are defined; None if there is none."""
    defined = [value for value in values if value is not None]
    if not defined:
        return None
    lower, median, upper = np.percentile(defined, [25, 50, 75])
    return Distribution(len(defined), float(np.mean(defined)), float(median), float(lower), float(upper))


def agreement(reference_ml: Sequence[float], predicted_ml: Sequence[float]) -> Agreement | None:
    """Return the mean difference and the range of 95 % of normally distributed differences; None below two cases.

    Reference:
        Bland and Altman, Lancet 1986; 327: 307-310.
    """
    if len(reference_ml) < 2:
        return None
    difference = np.subtract(predicted_ml, reference_ml)
    bias, spread = difference.mean(), 1.96 * difference.std(ddof=1)
    return Agreement(float(bias), float(bias - spread), float(bias + spread))
