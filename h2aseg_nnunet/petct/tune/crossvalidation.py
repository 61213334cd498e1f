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
    """Return the fit of one family: its rule of the largest worth, the earliest of equal ones."""

    def fit(gains: NDArray, seed: int) -> int:
        return int(_best(worth_of(gains)[None], np.asarray(columns))[0])

    return fit


def worth_of(gains: NDArray) -> NDArray:
    """Return the mean gain of each rule over patients, minus the standard error of this mean.

    What gains a little in many patients is worth more than what gains much in some and harms others, which the next
    patients would bear out least. One patient alone never makes a rule worth anything.
    """
    return gains.mean(axis=0) - _standard_error(gains)


def _standard_error(gains: NDArray) -> NDArray:
    return gains.std(axis=0, ddof=1) / np.sqrt(len(gains))


def best_family(gains: NDArray, families: Columns, seed: int) -> str | None:
    """Return the first family that is about as good as the best one on left-out patients; None if none gains anything.

    About as good is a worth that lacks at most the standard error of the best family's gain: of families that cannot be
    told apart the simplest is taken, which is the first.
    """
    folds = list(_folds(len(gains), seed))
    worths = np.array([worth_of(gains[~held_out]) for held_out in folds])
    left_out = np.zeros((len(gains), len(families)))
    for number, columns in enumerate(families.values()):
        for held_out, column in zip(folds, _best(worths, np.asarray(columns)), strict=True):
            left_out[held_out, number] = gains[held_out, column]
    worth = worth_of(left_out)
    best = int(np.argmax(worth))
    enough = max(EPSILON, worth[best] - _standard_error(left_out)[best])
    return list(families)[int(np.argmax(worth >= enough))] if worth[best] >= EPSILON else None


def _best(worths: NDArray, columns: NDArray) -> NDArray:
    """The column of the largest worth in each row, of equal ones the earliest in the family."""
    of_family = worths[:, columns]
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
