import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from h2aseg_nnunet.petct.evaluate.aggregate import aggregate, summarize
from h2aseg_nnunet.petct.evaluate.detection import Detection
from h2aseg_nnunet.petct.evaluate.protocols import measure

NAN = math.nan
VALUES = st.lists(st.one_of(st.floats(0, 1), st.just(NAN)), min_size=1, max_size=12)


def hecktor_case(reference, prediction):
    return measure("hecktor22", np.array([[reference]]), np.array([[prediction]]), (1, 1, 1))


HECKTOR_CASES = [
    hecktor_case([1, 1, 2], [1, 1, 2]),
    hecktor_case([1, 1, 1], [1, 0, 2]),
    hecktor_case([0, 0, 0], [0, 0, 1]),
]


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


@settings(deadline=None)
@given(st.permutations(HECKTOR_CASES))
def test_the_order_of_cases_does_not_change_what_is_pooled(cases):
    np.testing.assert_equal(aggregate("hecktor22", cases), aggregate("hecktor22", HECKTOR_CASES))


def test_aggregated_dice_of_three_patients():
    figures = aggregate("hecktor22", HECKTOR_CASES)

    # GTVp: 2 and 1 voxels shared, 2 + 3 in references, 2 + 1 + 1 in predictions; GTVn: 1 shared, 1 and 2
    assert figures["aggregated_dice"] == pytest.approx({"GTVp": 6 / 9, "GTVn": 2 / 3, "mean": 2 / 3})
    assert figures["dice_GTVp"]["undefined"] == 1
    for part, (low, high) in figures["aggregated_dice_interval_95"].items():
        assert 0 <= low <= figures["aggregated_dice"][part] <= high <= 1


def test_a_label_that_is_absent_everywhere_is_undefined_in_2022_and_perfect_in_2025():
    cases = [hecktor_case([1, 0], [1, 0]), hecktor_case([1, 0], [1, 1])]

    before, after = (aggregate(protocol, cases) for protocol in ("hecktor22", "hecktor25"))

    assert math.isnan(before["aggregated_dice"]["GTVn"]) and math.isnan(before["aggregated_dice"]["mean"])
    assert after["aggregated_dice"] == pytest.approx({"GTVp": 4 / 5, "GTVn": 1, "mean": 0.9})
    assert after["aggregated_dice_interval_95"]["GTVn"] == [1, 1]


def test_pooled_lesions_count_as_if_they_were_of_one_case():
    detections = [Detection(4, 3, 3, 3), Detection(0, 0, 3, 0)]
    cases = [detection._asdict() for detection in detections]

    pooled = aggregate("lesion", cases)["pooled"]

    assert pooled == pytest.approx({"sensitivity": 3 / 4, "precision": 3 / 6, "F1": 0.6})


def test_autopet_pools_nothing():
    assert set(aggregate("autopet", [{"dice": 1.0}])) == {"dice"}
