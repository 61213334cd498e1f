import numpy as np
import pytest

from h2aseg_nnunet.petct.tune import crossvalidation
from h2aseg_nnunet.petct.tune.crossvalidation import best_family, best_of, choose_among, judge, worth_of

FAMILIES = {"a": [0, 1, 2], "b": [0, 3]}


def gains_of(*columns):
    """Gains of ten patients by each rule; column 0 is no rule."""
    return np.array([np.zeros(10), *(np.broadcast_to(column, 10) for column in columns)], float).T


def test_the_rule_of_the_largest_gain_is_fitted():
    assert best_of([0, 1, 2])(gains_of(0.1, 0.2, 0.0), 0) == 2


def test_of_equal_rules_the_gentlest_is_fitted():
    assert best_of([0, 1, 2])(gains_of(0.1, 0.1, 0.0), 0) == 1
    assert best_of([0, 1, 2])(gains_of(0.0, 0.0, 0.0), 0) == 0


def test_a_gain_of_every_patient_is_reported_as_it_is():
    left_out = judge(gains_of(0.1, 0.2, 0.0), choose_among(FAMILIES))

    assert left_out.gain.mean == pytest.approx(0.2)
    assert left_out.gain.interval_95 == pytest.approx([0.2, 0.2])
    assert (left_out.gain.larger, left_out.gain.smaller) == (10, 0)
    assert (left_out.picks == 2).all()


def test_a_model_without_anything_to_gain_has_no_family():
    worse = gains_of(-0.1, -0.2, 0.0)

    assert best_family(worse, FAMILIES, 0) is None
    assert judge(worse, choose_among(FAMILIES)).gain.mean == 0


def test_a_rule_is_worth_its_mean_gain_minus_the_standard_error():
    """Gains of 1 and 3: mean 2, deviation sqrt(2), standard error 1."""
    assert worth_of(np.array([[1.0, 0.0], [3.0, 0.0]])).tolist() == pytest.approx([1.0, 0.0])


def test_a_little_for_all_is_worth_more_than_much_for_some():
    much_for_some = np.array([1.0, 1.0, *[-0.1] * 8])  # a mean of 0.12, more than 0.1

    assert best_of([0, 1, 2])(gains_of(much_for_some, 0.1, 0.0), 0) == 2


def test_one_patient_alone_makes_no_rule():
    assert best_of([0, 1])(gains_of(np.array([100.0, *[0.0] * 9]), 0.0, 0.0), 0) == 0


def test_of_families_that_cannot_be_told_apart_the_first_is_taken():
    """Family b gains 0.01 more in the mean, a tenth of its standard error."""
    spread = np.tile([0.0, 0.6], 5)

    assert best_family(gains_of(spread, 0.0, spread + 0.01), FAMILIES, 0) == "a"
    assert best_family(gains_of(spread, 0.0, spread + 0.5), FAMILIES, 0) == "b"


def test_a_patient_never_decides_on_the_rule_it_is_judged_by():
    """Rule 1 helps two patients by 9 and harms the others by 1/2: without either of the two it is worth nothing."""
    gains = gains_of(np.array([9.0, 9.0, *[-0.5] * 8]), 0.0, 0.0)

    left_out = judge(gains, best_of([0, 1]))

    assert best_of([0, 1])(gains, 0) == 1
    assert (left_out.picks[:, :2] == 0).all()
    assert left_out.gain.mean < 0


def test_every_patient_is_left_out_once_in_each_division():
    for seed in range(3):
        folds = list(crossvalidation._folds(13, seed))

        assert np.sum(folds, axis=0).tolist() == [1] * 13
        assert {int(fold.sum()) for fold in folds} == {2, 3}


def test_values_of_left_out_patients_are_averaged_over_the_divisions():
    left_out = judge(gains_of(0.1, 0.2, 0.0), best_of([0, 1, 2]))

    assert left_out.values(np.tile([0.0, 1.0, 5.0, 7.0], (10, 1))).tolist() == [5.0] * 10


def test_rules_fitted_on_noise_have_no_reported_gain_in_the_mean_of_50_draws(monkeypatch):
    """Fitted to all patients, the same noise seems to gain a third of its deviation: what a leak would report."""
    monkeypatch.setattr(crossvalidation, "NUM_REPEATS", 2)
    families = {"a": list(range(11)), "b": [0, *range(11, 21)], "c": [0, *range(21, 31)]}
    reported, apparent = [], []
    for draw in range(50):
        gains = np.random.default_rng(draw).normal(size=(40, 31))
        gains[:, 0] = 0
        reported.append(judge(gains, choose_among(families), seed=draw).gain.mean)
        apparent.append(gains.mean(axis=0).max())

    standard_error = np.std(reported) / np.sqrt(50)
    assert np.mean(apparent) > 0.25
    assert abs(np.mean(reported)) < 3 * standard_error
    assert np.mean(reported) < 0.1 * np.mean(apparent)
