import math

import pytest

from h2aseg_nnunet.petct.compare.collect import PredictedCases, collect, label_models
from tests.unit.petct.compare.conftest import finish

NAN = math.nan


def part(run, *cases: str) -> PredictedCases:
    return PredictedCases(run.model.name, run.seed, str(run.fold), run.evaluation, cases)


def test_seeds_are_averaged_before_cases_are_compared(runs):
    made = runs(("A", "B"), folds=(0,), seeds=(0, 1))
    for run, dice in zip(made, ({"a": 0.5, "b": 0.5}, {"a": 0.75, "b": 0.5}) * 2, strict=True):
        finish(run, dice)
    finish(made[3], {"a": 0.25, "b": 0.75})  # B, seed 1

    comparison = collect(made, [part(run, "a", "b") for run in made], {})

    difference = comparison.differences["B"]["dice"]
    assert comparison.reference == "A"
    assert difference.num_cases == 2
    assert difference.mean == (0.0 + 0.125) / 2  # a: 0.5 - 0.5; b: 0.625 - 0.5
    assert (difference.larger, difference.smaller) == (1, 0)


def test_only_seeds_and_folds_that_both_have_finished_are_paired(runs):
    a0, b0, a1, b1 = made = runs(("A", "B"), folds=(0, 1))
    finish(a0, {"a": 0.5})
    finish(b0, {"a": 0.75})
    finish(a1, {"b": 0.0})
    assert not b1.evaluation.exists()

    comparison = collect(made, [part(a0, "a"), part(b0, "a"), part(a1, "b")], {b1.name: b1.log})

    assert comparison.differences["B"]["dice"].num_cases == 1
    assert comparison.differences["B"]["dice"].mean == 0.25
    assert comparison.trainers["A"].summary["dice"]["mean"] == 0.25
    assert (comparison.trainers["B"].num_finished, comparison.trainers["B"].num_planned) == (1, 2)
    assert comparison.missing == {b1.name: b1.log}


def test_a_case_without_lesion_has_no_dice_but_a_false_positive_volume(runs):
    a, b = made = runs(("A", "B"), folds=(0,))
    finish(a, {"sick": 0.5, "healthy": NAN}, false_positive_volume_ml=3.0)
    finish(b, {"sick": 0.5, "healthy": NAN}, false_positive_volume_ml=1.0)

    differences = collect(made, [part(run, "sick", "healthy") for run in made], {}).differences["B"]

    assert differences["dice"].num_cases == 1
    assert differences["dice"].wilcoxon_p == 1  # equal
    assert differences["false_positive_volume_ml"].num_cases == 2
    assert differences["false_positive_volume_ml"].mean == -2


def test_holm_counts_the_trainers_compared_with_the_reference(runs):
    cases = [f"case_{index}" for index in range(5)]
    made = runs(("A", "B", "C"), folds=(0,))
    for run, gain in zip(made, (0.0, 0.01, 0.02), strict=True):
        finish(run, {case: 0.5 + gain * (1 + index) for index, case in enumerate(cases)})

    differences = collect(made, [part(run, *cases) for run in made], {}).differences

    for label in ("B", "C"):
        assert differences[label]["dice"].wilcoxon_p == pytest.approx(2 / 32)
        assert differences[label]["dice"].holm_p == pytest.approx(4 / 32)


def test_costs_are_medians_over_runs_and_may_be_unknown(runs):
    made = runs(("A", "B"), folds=(0, 1, 2))
    for run, seconds in zip(made, (1.0, None, 9.0, None, 2.0, None), strict=True):
        finish(run, {f"case_{run.fold}": 0.5}, costs={"seconds_per_iteration": seconds})

    trainers = collect(made, [part(run, f"case_{run.fold}") for run in made], {}).trainers

    assert trainers["A"].costs["seconds_per_iteration"] == 2.0
    assert trainers["B"].costs["seconds_per_iteration"] is None


def test_plans_are_named_where_they_differ(runs):
    assert list(label_models(runs(("A", "B"))).values()) == ["A", "B"]
    assert list(label_models(runs(("A", "A:ResEnc"))).values()) == ["A:nnUNetPlans", "A:ResEnc"]


def test_a_run_on_other_cases_than_its_fold_is_refused(runs):
    run, *_ = made = runs()
    finish(run, {"a": 0.5})

    with pytest.raises(ValueError, match=r"has other cases than fold 0 .* choose another folder"):
        collect(made, [part(run, "a", "b")], {})


def test_without_a_finished_run_there_is_nothing_to_compare(runs):
    with pytest.raises(ValueError, match="no run is finished"):
        collect(runs(), [], {})
