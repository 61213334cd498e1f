import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from h2aseg_nnunet.petct.statistics import case_means, describe, holm, paired_differences, summarize, wilcoxon_p

NAN = math.nan
VALUES = st.lists(st.one_of(st.floats(0, 1), st.just(NAN)), min_size=1, max_size=12)


def test_mean_and_median_leave_out_undefined_cases_and_count_them():
    summary = summarize([0.2, NAN, 0.6, 1.0, 0.6, NAN])

    assert summary["mean"] == pytest.approx(0.6)
    assert summary["median"] == pytest.approx(0.6)
    assert summary["undefined"] == 2


def test_nothing_defined_leaves_everything_undefined():
    summary = summarize([NAN, NAN])

    assert np.isnan([summary["mean"], summary["median"], *summary["interval_95"]]).all()
    assert summary["undefined"] == 2


def test_equal_values_have_an_interval_of_no_width():
    assert summarize([0.5, 0.5, 0.5])["interval_95"] == pytest.approx([0.5, 0.5])


def test_the_interval_is_that_of_the_normal_approximation_in_a_large_cohort():
    values = np.random.default_rng(1).normal(0.7, 0.1, 500)
    standard_error = values.std() / math.sqrt(500)

    low, high = summarize(values)["interval_95"]

    assert low == pytest.approx(values.mean() - 1.96 * standard_error, abs=0.1 * standard_error)
    assert high == pytest.approx(values.mean() + 1.96 * standard_error, abs=0.1 * standard_error)


def test_the_seed_fixes_the_interval():
    values = np.random.default_rng(0).random(20)

    assert summarize(values, seed=3) == summarize(values, seed=3)
    assert summarize(values, seed=3)["interval_95"] != summarize(values, seed=4)["interval_95"]


@settings(deadline=None)
@given(VALUES, st.randoms())
def test_the_order_of_cases_changes_nothing(values, random):
    shuffled = random.sample(values, len(values))

    np.testing.assert_equal(summarize(shuffled), summarize(values))


def test_a_case_is_the_mean_of_the_runs_that_define_it():
    means = case_means([{"a": 0.5, "b": NAN}, {"a": 0.75, "b": 0.25, "c": NAN}])

    assert means["a"] == 0.625
    assert means["b"] == 0.25
    assert math.isnan(means["c"])


def test_differences_are_other_minus_reference_where_both_are_defined():
    reference = {"a": 0.5, "b": 0.25, "lesion-free": NAN, "not predicted": 0.5}

    assert paired_differences(reference, {"b": 0.75, "a": 0.25, "lesion-free": NAN}) == {"a": -0.25, "b": 0.5}


def test_a_constant_difference_has_an_interval_without_width():
    difference = describe([0.125] * 7)

    assert difference.mean == difference.median == 0.125
    assert difference.interval_95 == [0.125, 0.125]
    assert (difference.num_cases, difference.larger, difference.smaller) == (7, 7, 0)


def test_the_interval_is_that_of_the_mean_of_resampled_cases():
    """Four cases, of which one differs by 1: their resampled mean is Binomial(4, 1/4) / 4.

    P(0) = 0.316 and P(at most 2) = 0.949, P(at most 3) = 0.996: quantiles 0 and 0.75.
    """
    difference = describe([0.0, 0.0, 0.0, 1.0])

    assert difference.mean == 0.25
    assert difference.interval_95 == [0, 0.75]


def test_counts_leave_equal_cases_to_neither_side():
    difference = describe([0.5, 0.0, -0.25, 0.25])

    assert (difference.num_cases, difference.larger, difference.smaller) == (4, 2, 1)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1, 2, 3, 4, 5], 2 / 32),  # all 5 signs equal: 1 of 2^5 outcomes on each side
        ([-1, 2, 3, 4, 5], 4 / 32),  # rank sum of the minority 1: outcomes {} and {1}
        ([1, 2, -3, 4, 5], 10 / 32),  # 3: {}, {1}, {2}, {3}, {1, 2}
        ([1, 2, 3, 4, 5, 0, 0], 2 / 32),  # equal cases are left out
        ([0.0, 0.0], 1),
        ([0.5], 1),
    ],
)
def test_exact_p_of_the_signed_rank_test(differences, p):
    assert wilcoxon_p(differences) == pytest.approx(p)


def test_without_cases_nothing_is_defined():
    difference = describe([])

    assert math.isnan(difference.mean)
    assert math.isnan(difference.wilcoxon_p)
    assert difference.num_cases == 0


def test_holm_multiplies_the_smallest_by_the_number_of_tests_and_never_falls():
    assert holm([0.03, 0.01, 0.04]) == pytest.approx([0.06, 0.03, 0.06])  # 2 x 0.03, 3 x 0.01, max(1 x 0.04, 0.06)
    assert holm([0.9, 0.8]) == [1, 1]


def test_what_was_not_tested_does_not_count_for_holm():
    first, untested = holm([0.02, NAN])

    assert first == 0.02
    assert math.isnan(untested)
