"""Metrics of many rules on the table of a case, equal to those of `h2aseg evaluate` on the masks.

A rule is fitted to one number per patient between 0 and 1, which every patient has, also one without lesions.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.petct.postprocess.rules import Rule
from h2aseg_nnunet.petct.tune.measure import CaseTable, OutlineTable

HALF_ML = 10.0
"""A false-positive or false-negative volume that halves its part of the score: the order of what challenges report."""

WEIGHTS = (0.5, 0.25, 0.25)
"""Of Dice, false-positive and false-negative volume: those of AutoPET's ranking."""


class Scores(NamedTuple):
    """Values of one case by each of m rules, all (m,); NaN where `h2aseg evaluate` has no value.

    Attributes:
        dice: Dice; NaN without a reference.
        false_positive_volume_ml: Volume of predicted lesions that touch no reference voxel.
        false_negative_volume_ml: Volume of reference lesions that touch no predicted voxel; NaN without a reference.
        f1: F1 of lesions; NaN if both masks are empty.
        found_lesions: Reference lesions that share a voxel with the prediction.
        empty: 1 if nothing is predicted, else 0.
    """

    dice: NDArray
    false_positive_volume_ml: NDArray
    false_negative_volume_ml: NDArray
    f1: NDArray
    found_lesions: NDArray
    empty: NDArray


def score_rules(case: CaseTable, rules: Sequence[Rule]) -> Scores:
    """Evaluate rules on a case."""
    columns = np.empty((len(Scores._fields), len(rules)))
    by_outline: dict = {}
    for number, rule in enumerate(rules):
        by_outline.setdefault(rule.outline, []).append(number)
    for outline, numbers in by_outline.items():
        table = case.outlines[outline]
        keep = _kept([rules[number] for number in numbers], table, case.voxel_ml)
        columns[:, numbers] = _evaluate(keep, table, case)
    return Scores(*columns)


def _kept(rules: Sequence[Rule], table: OutlineTable, voxel_ml: float) -> NDArray[np.float64]:
    """Which lesions each rule keeps, (rules, n), as 0 and 1."""
    keep = np.array([rule.keeps(table.features, len(table.voxels)) for rule in rules], np.float64)
    totals_ml = keep @ table.voxels * voxel_ml
    enough = totals_ml >= [rule.least_total_ml for rule in rules]
    return keep * enough[:, None]


def _evaluate(keep: NDArray, table: OutlineTable, case: CaseTable) -> list[NDArray]:
    """The columns of `Scores`."""
    true = table.touches.any(axis=1)
    found = keep @ table.touches > 0  # (rules, reference lesions)
    in_reference, lesions = case.reference_voxels.sum(), len(case.reference_voxels)
    predicted, shared = keep @ table.voxels, keep @ table.overlap
    false_ml = keep @ (table.voxels * ~true) * case.voxel_ml
    missed_ml = ~found @ case.reference_voxels * case.voxel_ml
    count, count_true, count_found = keep.sum(axis=1), keep @ true, found.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        dice = 2 * shared / (predicted + in_reference)
        sensitivity, precision = count_found / lesions if lesions else np.full(len(keep), np.nan), count_true / count
        f1 = 2 * sensitivity * precision / (sensitivity + precision)
    f1 = np.where(count_found == 0, 0.0, f1)
    f1 = np.where(lesions + count == 0, np.nan, f1)
    if not lesions:
        dice, missed_ml = np.full(len(keep), np.nan), np.full(len(keep), np.nan)
    return [dice, false_ml, missed_ml, f1, count_found, predicted == 0]


def autopet(scores: Scores) -> NDArray:
    """Half Dice, a quarter each for false-positive and false-negative volume, of which v ml count 10 / (10 + v).

    A patient without lesions has the part of the false-positive volume alone, as in the challenge.
    """
    false, missed = (
        HALF_ML / (HALF_ML + volume) for volume in (scores.false_positive_volume_ml, scores.false_negative_volume_ml)
    )
    together = WEIGHTS[0] * scores.dice + WEIGHTS[1] * false + WEIGHTS[2] * missed
    return np.where(np.isnan(scores.dice), false, together)


def lesion_f1(scores: Scores) -> NDArray:
    """F1 of lesions that share a voxel; 1 where nothing is predicted and nothing is there."""
    return np.where(np.isnan(scores.f1), 1.0, scores.f1)


def auc_dice(scores: Scores) -> NDArray:
    """Dice as AutoPET V counts it: without lesions 1 if nothing is predicted, else 0.

    The challenge's AUC-Dice is the area under this Dice over interaction steps. A cross-validation has one prediction
    of each case: its curve is flat, and the area per step is its height.
    """
    return np.where(np.isnan(scores.dice), scores.empty, scores.dice)


METRICS: Mapping[str, Callable[[Scores], NDArray]] = {"autopet": autopet, "lesion-f1": lesion_f1, "auc-dice": auc_dice}
