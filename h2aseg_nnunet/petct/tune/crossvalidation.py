"""What a rule gains on patients that it was not fitted on: nested cross-validation by patient.

Rules are columns of a matrix of gains, one row per patient, column 0 for no rule, so that a whole cross-validation is a
few means of rows. Whoever fits, be it the choice among families or a rule within one, never sees the rows on which the
gain is counted.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.petct.statistics import summarize

NUM_FOLDS = 5
NUM_REPEATS = 10
"""Divisions of the patients into folds; what is left out is averaged over them."""

EPSILON = 1e-9
"""Gains that differ by less are equal, and the gentler rule is taken."""

Columns = Mapping[str, Sequence[int]]
Fit = Callable[[NDArray, int], int]
"""Takes gains of patients and a seed, returns the column of a rule."""


class Change(NamedTuple):
    """A change of patients' values.

    Attributes:
        mean: Its mean; NaN without a patient.
        interval_95: 95 % interval of the mean, by percentile bootstrap over patients.
        larger: Number of patients whose value grew.
        smaller: Number of patients whose value fell.
    """

    mean: float
    interval_95: list[float]
    larger: int
    smaller: int

    @classmethod
    def of(cls, differences: NDArray, seed: int) -> "Change":
        """Summarize the change of each patient; NaN are left out."""
        summary = summarize(differences.tolist(), seed)
        counts = (int(np.count_nonzero(each)) for each in (differences > EPSILON, differences < -EPSILON))
        return cls(summary["mean"], summary["interval_95"], *counts)


class LeftOut(NamedTuple):
    """A way to fit, judged on patients that were left out.

    Attributes:
        picks: The column that was fitted without each patient, in each division, (repeats, patients).
        gain: Gains of the patients by it, averaged over the divisions.
    """

    picks: NDArray
    gain: Change

    def values(self, matrix: NDArray) -> NDArray:
        """Return what another matrix of patients and rules has for the left-out patients, averaged over divisions."""
        return matrix[np.arange(matrix.shape[0]), self.picks].mean(axis=0)


def best_of(columns: Sequence[int]) -> Fit:
    """Return the fit of one family: its rule of the largest mean gain, the earliest of equal ones."""

    def fit(gains: NDArray, seed: int) -> int:
        return int(_best(gains.mean(axis=0)[None], np.asarray(columns))[0])

    return fit


def best_family(gains: NDArray, families: Columns, seed: int) -> str | None:
    """Return the family of the largest gain on left-out patients; None if none gains anything."""
    folds = np.array(list(_folds(len(gains), seed)), float)
    held_out = folds @ gains  # sums of each fold's patients, (folds, rules)
    others = (gains.sum(axis=0) - held_out) / (len(gains) - folds.sum(axis=1, keepdims=True))
    every_fold = np.arange(len(folds))
    left_out = [held_out[every_fold, _best(others, np.asarray(columns))].sum() for columns in families.values()]
    best = int(np.argmax(left_out))
    return list(families)[best] if left_out[best] > EPSILON else None


def _best(means: NDArray, columns: NDArray) -> NDArray:
    """The column of the largest mean in each row, of equal ones the earliest in the family."""
    of_family = means[:, columns]
    return columns[np.argmax(of_family >= of_family.max(axis=1, keepdims=True) - EPSILON, axis=1)]


def choose_among(families: Columns) -> Fit:
    """Return the fit that first chooses a family by cross-validation, then fits its rule."""

    def fit(gains: NDArray, seed: int) -> int:
        name = best_family(gains, families, seed)
        return 0 if name is None else best_of(families[name])(gains, seed)

    return fit


def judge(gains: NDArray, fit: Fit, seed: int = 0) -> LeftOut:
    """Judge a way to fit rules by cross-validation.

    Args:
        gains: Gain of each patient by each rule, (patients, rules); column 0 is 0.
        fit: The way to fit.
        seed: Seed of the divisions and of the bootstrap.
    """
    picks = np.zeros((NUM_REPEATS, len(gains)), int)
    for repeat in range(NUM_REPEATS):
        for held_out in _folds(len(gains), seed + repeat):
            picks[repeat, held_out] = fit(gains[~held_out], seed + repeat)
    gain = gains[np.arange(len(gains)), picks].mean(axis=0)
    return LeftOut(picks, Change.of(gain, seed))


def _folds(num_patients: int, seed: int) -> Iterator[NDArray[np.bool_]]:
    """Yield the patients of each fold as a mask."""
    folds = np.arange(num_patients) % min(NUM_FOLDS, num_patients)
    np.random.default_rng(seed).shuffle(folds)
    for fold in range(folds.max() + 1):
        yield folds == fold
