"""A line of voxels of 10 mm, so that a voxel is 1 ml; hand-worked."""

import numpy as np
import pytest

from h2aseg_nnunet.petct.postprocess.apply import apply_rule
from h2aseg_nnunet.petct.postprocess.regions import Predicted, regions_of
from h2aseg_nnunet.petct.postprocess.rules import NO_RULE, Condition, Outline, Rule

SPACING_MM = (10.0, 10.0, 10.0)

LABELS = [0, 1, 1, 1, 0, 0, 0, 0, 2, 0, 0, 0]
SUV = [1, 4, 10, 5, 3, 1, 1, 1, 2, 1, 1, 6]
PROBABILITY = [0.1, 0.6, 0.9, 0.9, 0.4, 0.1, 0.1, 0.35, 0.6, 0.2, 0.1, 0.1]


def line(values, dtype=float):
    return np.array(values, dtype).reshape(1, 1, -1)


def case(labels=LABELS, liver_suv=float("nan")):
    return Predicted(line(labels, int) != 0, SPACING_MM, line(SUV), line(PROBABILITY), liver_suv)


def ruled(rule, classes=None, labels=LABELS, **known):
    return apply_rule(rule, line(labels, np.uint8), case(labels, **known), classes).labels.ravel().tolist()


def test_without_a_rule_nothing_changes():
    assert ruled(NO_RULE) == LABELS


@pytest.mark.parametrize(
    ("feature", "at_least"),
    [("volume_ml", 1.5), ("suv_max", 2.5), ("suv_peak", 2.5), ("mean_probability", 0.75)],
)
def test_a_lesion_below_the_least_is_removed(feature, at_least):
    assert ruled(Rule(conditions=(Condition(feature, at_least),))) == [0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]


def test_lesions_are_measured_by_their_own_voxels():
    """Mean probability of the first lesion: (0.6 + 0.9 + 0.9) / 3 = 0.8."""
    assert any(ruled(Rule(conditions=(Condition("mean_probability", 0.8 - 1e-9),))))
    assert not any(ruled(Rule(conditions=(Condition("mean_probability", 0.8 + 1e-9),))))


def test_a_patient_with_less_than_the_total_has_no_tumor():
    assert ruled(Rule(least_total_ml=4.0)) == LABELS
    assert not any(ruled(Rule(least_total_ml=4.1)))


def test_the_total_is_what_the_other_parts_of_the_rule_leave():
    assert not any(ruled(Rule(conditions=(Condition("volume_ml", 1.5),), least_total_ml=3.5)))


def test_a_threshold_of_probability_draws_the_mask_anew():
    classes = line([1] * 12, np.uint8)

    assert ruled(Rule(Outline("probability", 0.3)), classes) == [0, 1, 1, 1, 1, 0, 0, 1, 2, 0, 0, 0]
    assert ruled(Rule(Outline("probability", 0.7)), classes) == [0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]


def test_a_fixed_suv_is_drawn_within_reach_of_the_mask_only():
    """SUV 3 at position 4 is 10 mm from the mask; SUV 6 at the end is far from it, and SUV 2 is too little."""
    assert ruled(Rule(Outline("suv", 3.0, 10.0))) == [0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    assert ruled(Rule(Outline("suv", 3.0, 5.0))) == [0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]


def test_a_share_of_suvmax_is_that_of_the_nearest_lesion():
    """41 % of 10 is 4.1: 5 stays and 4 goes; 41 % of 2 is 0.82: the second lesion takes its neighbors of SUV 1."""
    assert ruled(Rule(Outline("share", 0.41, 10.0))) == [0, 0, 1, 1, 0, 0, 0, 2, 2, 2, 0, 0]


def test_the_livers_threshold_is_a_fixed_suv_of_the_patient():
    assert ruled(Rule(Outline("liver", 1.5, 5.0)), liver_suv=3.0) == [0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]


def test_what_changed_is_told():
    outcome = apply_rule(Rule(Outline("suv", 3.0, 10.0)), line(LABELS, np.uint8), case())

    assert (outcome.added_ml, outcome.removed_ml, outcome.removed_lesions) == (1.0, 1.0, 0)


def test_an_empty_mask_stays_empty():
    empty = [0] * 12

    assert ruled(Rule(Outline("suv", 3.0, 10.0)), labels=empty) == empty
    assert ruled(Rule(least_total_ml=1.0), labels=empty) == empty


def test_a_part_of_a_case_holds_whole_lesions_of_every_outline():
    """The two masks are 5 voxels apart; within 30 mm of both, one outline may join them."""
    assert len(list(regions_of(case(), [Outline()]))) == 2
    assert len(list(regions_of(case(), [Outline("suv", 1.0, 30.0)]))) == 1


def test_in_parts_a_rule_gives_what_it_gives_on_the_whole_case():
    rng = np.random.default_rng(0)
    mask = rng.random((12, 14, 16)) > 0.97
    suv = rng.gamma(2, 2, mask.shape)
    spacing_mm = (3.0, 2.0, 2.0)
    whole = np.zeros(mask.shape, bool)
    for index in np.argwhere(mask):
        distance = np.linalg.norm((np.stack(np.indices(mask.shape), -1) - index) * spacing_mm, axis=-1)
        whole |= (distance <= 4.0) & (suv >= 3.0)

    outcome = apply_rule(Rule(Outline("suv", 3.0, 4.0)), mask.astype(np.uint8), Predicted(mask, spacing_mm, suv))

    assert np.array_equal(outcome.labels > 0, whole)
