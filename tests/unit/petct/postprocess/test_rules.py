import json

import numpy as np
import pytest

from h2aseg_nnunet.petct.postprocess.rules import NO_RULE, Condition, Outline, Rule

FEATURES = {"volume_ml": np.array([0.5, 2.0, 0.5, 2.0]), "suv_max": np.array([3.0, 3.0, 6.0, 6.0])}
BOTH = (Condition("volume_ml", 1.0), Condition("suv_max", 4.0))


def test_of_two_conditions_all_or_one_must_hold():
    assert Rule(conditions=BOTH).keeps(FEATURES, 4).tolist() == [False, False, False, True]
    assert Rule(conditions=BOTH, needs_all=False).keeps(FEATURES, 4).tolist() == [False, True, True, True]


def test_a_value_that_is_reached_is_enough():
    assert Rule(conditions=(Condition("volume_ml", 2.0),)).keeps(FEATURES, 4).tolist() == [False, True, False, True]


def test_no_rule_keeps_everything():
    assert NO_RULE.changes_nothing
    assert NO_RULE.keeps({}, 3).all()


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (NO_RULE, "no rule"),
        (Rule(conditions=BOTH), "lesions of volume >= 1 ml and SUVmax >= 4"),
        (Rule(conditions=BOTH, needs_all=False), "lesions of volume >= 1 ml or SUVmax >= 4"),
        (Rule(Outline("share", 0.41, 8.0)), "41% of the lesion's SUVmax within 8 mm of it"),
        (
            Rule(Outline("probability", 0.3), least_total_ml=2.0),
            "tumor probability > 0.3; nothing in patients with less than 2 ml",
        ),
    ],
)
def test_rules_are_told_in_words_and_survive_json(rule, words):
    assert rule.describe() == words
    assert Rule.of(json.loads(json.dumps(rule.as_json()))) == rule


def test_what_a_rule_asks_for():
    assert Rule(Outline("suv", 3.0, 8.0)).needs_suv and not Rule(Outline("suv", 3.0, 8.0)).needs_probability
    assert Rule(conditions=(Condition("mean_probability", 0.7),)).needs_probability
    assert Rule(Outline("liver", 1.0, 8.0)).needs_liver
    assert not NO_RULE.needs_suv and not NO_RULE.needs_probability


def test_a_rule_of_another_version_is_not_misread():
    content = NO_RULE.as_json() | {"outline": {"kind": "magic", "value": 1.0, "reach_mm": 0.0}}

    with pytest.raises(ValueError, match="magic"):
        Rule.of(content)
