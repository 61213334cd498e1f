import pytest

from studies.results import (
    BESIDE_UNET,
    DEFAULT,
    NEITHER,
    NETWORKS,
    UNET,
    by_case,
    cases_where_pet_misleads,
    comparable,
    differences_from,
    faint_cases,
    keys,
    read_runs,
    shared,
)


def test_a_case_is_averaged_over_seeds(write_cases):
    dice = by_case(read_runs(write_cases()))

    assert list(dice) == list(NETWORKS)
    assert dice[UNET] == pytest.approx({"a": 0.55, "b": 0.55, "c": 0.55, "d": 0.55})
    assert dice[DEFAULT] == pytest.approx({"a": 0.65, "b": 0.75, "c": 0.85, "d": 0.95})


def test_a_run_that_one_trainer_lacks_counts_for_none(write_cases):
    runs = shared(read_runs(write_cases(without={(DEFAULT, 1, 0)})), BESIDE_UNET)

    assert keys(runs) == [(0, 0), (0, 1), (1, 1)]
    assert by_case(runs)[UNET] == pytest.approx({"a": 0.5, "b": 0.5, "c": 0.55, "d": 0.55})


def test_one_table_holds_all_networks_that_have_finished_the_same_runs(write_cases):
    (table,) = comparable(read_runs(write_cases(without={(trainer, 1, 1) for trainer in NETWORKS})))

    assert set(table.trainer) == set(NETWORKS)
    assert keys(table) == [(0, 0), (0, 1), (1, 0)]


def test_ablations_that_lack_runs_take_none_from_the_other_networks(write_cases):
    beside_unet, ablations = comparable(read_runs(write_cases(without={(NEITHER, 1, 0)})))

    assert set(beside_unet.trainer) == set(BESIDE_UNET)
    assert keys(beside_unet) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert keys(ablations) == [(0, 0), (0, 1), (1, 1)]


def test_nothing_is_compared_where_no_run_is_shared(write_cases):
    runs = read_runs(write_cases())

    with pytest.raises(ValueError, match="no seed and fold that all of"):
        shared(runs[runs.trainer != NEITHER], tuple(NETWORKS))


def test_trainers_with_other_cases_are_refused(write_cases):
    file = write_cases()
    file.write_text(file.read_text().replace(f"{UNET}:plans,0,1,c", f"{UNET}:plans,0,1,e"))

    with pytest.raises(ValueError, match="other cases in fold 1 of seed 0"):
        comparable(read_runs(file))


def test_p_is_corrected_for_the_number_of_comparisons(write_cases):
    """Four differences of one sign: the exact p is 2 / 16; it is the smallest of six."""
    differences = differences_from(UNET, by_case(read_runs(write_cases())))

    assert UNET not in differences
    assert differences[DEFAULT].mean == pytest.approx(0.25)
    assert (differences[DEFAULT].larger, differences[DEFAULT].smaller) == (4, 0)
    assert differences[DEFAULT].wilcoxon_p == pytest.approx(0.125)
    assert differences[DEFAULT].holm_p == pytest.approx(6 * 0.125)
    assert differences[NEITHER].wilcoxon_p == 1


def test_pet_misleads_below_the_median(tmp_path):
    file = tmp_path / "alone.csv"
    file.write_text("case,dice\na,0.1\nb,0.9\nc,0.2\nd,0.8\n")

    assert cases_where_pet_misleads(file) == {"a", "c"}


def test_faint_tumors_take_up_less_than_the_median(tmp_path):
    file = tmp_path / "alone.csv"
    file.write_text("case,dice,suv_mean\na,0.1,4.0\nb,0.9,1.5\nc,0.2,9.0\nd,0.8,3.0\n")

    assert faint_cases(file) == {"b", "d"}
