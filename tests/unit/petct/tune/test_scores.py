"""Metrics on tables are those of `h2aseg evaluate` on masks."""

import math

import numpy as np
import pytest

from h2aseg_nnunet.petct.evaluate.detection import detect
from h2aseg_nnunet.petct.evaluate.metrics import (
    dice,
    dice_or_agreement,
    false_negative_volume_ml,
    false_positive_volume_ml,
)
from h2aseg_nnunet.petct.postprocess.apply import apply_rule
from h2aseg_nnunet.petct.postprocess.regions import Predicted
from h2aseg_nnunet.petct.postprocess.rules import NO_RULE, Condition, Outline, Rule, outlines_of
from h2aseg_nnunet.petct.tune.measure import measure_case
from h2aseg_nnunet.petct.tune.scores import Scores, auc_dice, autopet, lesion_f1, score_rules

SPACING_MM = (3.0, 2.0, 2.0)
RULES = [
    NO_RULE,
    Rule(Outline("probability", 0.6)),
    Rule(Outline("suv", 3.0, 4.0)),
    Rule(Outline("share", 0.41, 4.0)),
    Rule(conditions=(Condition("volume_ml", 0.1),)),
    Rule(conditions=(Condition("suv_max", 9.0), Condition("mean_probability", 0.8)), needs_all=False),
    Rule(Outline("suv", 3.0, 8.0), (Condition("suv_peak", 4.0), Condition("volume_ml", 0.05))),
    Rule(least_total_ml=1e3),
]


def random_case(seed, density=0.03):
    rng = np.random.default_rng(seed)
    shape = (9, 12, 15)
    probability = rng.random(shape)
    probability[2:5, 3:7, 2:6] = rng.uniform(0.6, 1.0, (3, 4, 4))
    mask = (probability > 0.5) & ((rng.random(shape) < density) | (np.arange(15) < 6))
    reference = rng.random(shape) < density / 2
    reference[3:6, 3:6, 2:7] = density > 0
    return Predicted(mask, SPACING_MM, rng.gamma(3, 2, shape), probability), reference & (density > 0)


@pytest.mark.parametrize("case", [random_case(0), random_case(1), random_case(2, density=0.0)])
def test_every_rule_scores_as_its_masks_do(case):
    predicted, reference = case
    scores = score_rules(measure_case(predicted, reference, outlines_of(RULES)), RULES)

    for number, rule in enumerate(RULES):
        ones = np.ones(reference.shape, np.uint8)
        mask = apply_rule(rule, predicted.mask.astype(np.uint8), predicted, ones).labels
        found = detect(reference, mask)
        expected = Scores(
            dice(reference, mask),
            false_positive_volume_ml(reference, mask, SPACING_MM),
            false_negative_volume_ml(reference, mask, SPACING_MM),
            found.f1,
            found.found_lesions,
            float(not mask.any()),
        )
        assert [column[number] for column in scores] == pytest.approx(list(expected), nan_ok=True), rule.describe()
        assert auc_dice(scores)[number] == pytest.approx(dice_or_agreement(reference, mask))


def scores(dice=math.nan, false=0.0, missed=math.nan, f1=math.nan, empty=0.0):
    return Scores(*(np.array([value]) for value in (dice, false, missed, f1, 0, empty)))


def test_autopet_weighs_dice_and_both_volumes():
    """0.5 x 0.8 + 0.25 x 10 / 20 + 0.25 x 10 / 10."""
    assert autopet(scores(dice=0.8, false=10.0, missed=0.0)) == pytest.approx([0.775])


def test_autopet_of_a_patient_without_lesions_is_the_false_positive_part_alone():
    assert autopet(scores(false=10.0)) == pytest.approx([0.5])
    assert autopet(scores(false=0.0, empty=1.0)) == pytest.approx([1.0])


def test_a_patient_without_lesions_who_is_called_empty_is_right():
    assert lesion_f1(scores(empty=1.0)) == pytest.approx([1.0])
    assert lesion_f1(scores(f1=0.0)) == pytest.approx([0.0])
    assert auc_dice(scores(empty=1.0)) == pytest.approx([1.0])
    assert auc_dice(scores(empty=0.0)) == pytest.approx([0.0])


def test_auc_dice_is_dice_where_there_is_a_lesion():
    assert auc_dice(scores(dice=0.7, empty=0.0)) == pytest.approx([0.7])
