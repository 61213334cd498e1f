import csv
import json
import math

import pytest

from h2aseg_nnunet.petct.evaluate.aggregate import aggregate
from h2aseg_nnunet.petct.evaluate.run import Evaluation
from h2aseg_nnunet.petct.evaluate.table import check_outputs, to_text, write_csv, write_json

CASES = {
    "a": {"dice": 0.5, "false_positive_volume_ml": 12.25, "false_negative_volume_ml": 0.0},
    "long_name": {"dice": math.nan, "false_positive_volume_ml": 0.0, "false_negative_volume_ml": math.nan},
}
ABOUT = {"metrics": "autopet", "missing_predictions": [], "missing_counted_as": None, "extra_predictions": []}
EVALUATION = Evaluation(CASES, ABOUT | aggregate("autopet", list(CASES.values())))


def refuse_constant(name):
    raise AssertionError(f"{name} is not JSON")


def test_json_is_strict_and_undefined_values_are_null(tmp_path):
    write_json(EVALUATION, tmp_path / "evaluation.json")

    content = json.loads((tmp_path / "evaluation.json").read_text(), parse_constant=refuse_constant)
    assert list(content) == ["cases", "aggregate"]
    assert content["cases"]["a"] == CASES["a"]
    assert content["cases"]["long_name"]["dice"] is None
    assert content["aggregate"]["dice"] == {"mean": 0.5, "median": 0.5, "interval_95": [0.5, 0.5], "undefined": 1}


def test_csv_has_one_row_per_case_and_undefined_values_are_empty(tmp_path):
    write_csv(EVALUATION, tmp_path / "cases.csv")

    with (tmp_path / "cases.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["case"] for row in rows] == ["a", "long_name"]
    assert rows[0]["metrics"] == "autopet"
    assert float(rows[0]["false_positive_volume_ml"]) == 12.25
    assert rows[1]["dice"] == ""


def test_columns_of_the_text_are_aligned():
    cases, summaries = to_text(EVALUATION).split("\n\n")

    header, *rows = cases.splitlines()[-3:]
    assert header.startswith("case ") and rows[0].startswith("a ") and rows[1].startswith("long_name ")
    ends = [row.index(text) + len(text) for row, text in ((rows[0], "0.5000"), (rows[1], "-"))]
    assert ends == [header.index("dice") + len("dice")] * 2
    assert summaries.splitlines()[1].split() == ["dice", *["0.5000", "0.5000", "0.5000", "to", "0.5000", "1"]]


@pytest.mark.parametrize(("fate", "words"), [("empty", "counted as empty"), ("skip", "left out")])
def test_missing_and_extra_predictions_are_said(fate, words):
    about = {"missing_predictions": ["b", "c"], "missing_counted_as": fate, "extra_predictions": ["d"]}

    text = to_text(Evaluation(CASES, EVALUATION.aggregate | about))

    assert f"Without prediction, {words}: 2 (b, c)." in text
    assert "Without reference, left out: 1 (d)." in text


def test_what_was_left_out_or_not_declared_is_said():
    unjudged = {"ignore_label": 2, "unjudged_cases": ["a", "b"]}

    text = to_text(Evaluation(CASES, EVALUATION.aggregate | unjudged))

    assert "nobody judged (ignore label 2), which are left out of every measure: 2 (a, b)." in text
    undeclared = to_text(Evaluation(CASES, EVALUATION.aggregate | {"undeclared_values_up_to": 3}))
    assert "every value but 0, up to 3, counts as tumor" in undeclared


def test_an_earlier_evaluation_may_be_replaced(tmp_path):
    write_json(EVALUATION, tmp_path / "a.json")
    write_csv(EVALUATION, tmp_path / "a.csv")

    check_outputs(tmp_path / "a.json", tmp_path / "a.csv")
    check_outputs(tmp_path / "new.json", tmp_path / "new.csv")
    check_outputs(None, None)


@pytest.mark.parametrize("content", ['{"labels": {}}', '["cases", "aggregate"]', "{", "\x00\xff"])
def test_another_json_file_is_left_as_it_is(tmp_path, content):
    file = tmp_path / "dataset.json"
    file.write_text(content)

    with pytest.raises(ValueError, match=r"dataset\.json exists and is not an evaluation"):
        check_outputs(file, None)


def test_another_table_is_left_as_it_is(tmp_path):
    file = tmp_path / "cohort.csv"
    file.write_text("case,ct,pet\n")

    with pytest.raises(ValueError, match=r"cohort\.csv exists and is not an evaluation"):
        check_outputs(None, file)


def test_endings_show_what_a_file_is(tmp_path):
    with pytest.raises(ValueError, match=r"case\.nii\.gz should end in \.json"):
        check_outputs(tmp_path / "case.nii.gz", None)
    with pytest.raises(ValueError, match=r"out\.json should end in \.csv"):
        check_outputs(None, tmp_path / "out.json")


def test_the_screen_shows_curves_over_all_cases_only():
    case = {"dice": 0.5, "auc_dice": 0.25, "dice_step_0": 0.125, "dice_step_1": 0.5}
    about = ABOUT | {"metrics": "autopet5", "num_steps": 2}

    cases, summaries, note = to_text(Evaluation({"a": case}, about | aggregate("autopet5", [case]))).split("\n\n")

    assert cases.splitlines()[-1].split() == ["a", "0.5000", "0.2500"]
    assert "dice_step_0" in summaries
    assert note.startswith("2 interaction steps; the challenge has 6")


def test_figures_of_all_cases_are_shown_with_their_intervals():
    cases = {"a": {"true_positive_patient": 1, "false_negative_patient": 0, "false_positive_patient": 0}}
    cases["a"]["true_negative_patient"] = 0
    about = ABOUT | {"metrics": "clinical"}

    text = to_text(Evaluation(cases, about | aggregate("clinical", list(cases.values()))))

    lines = [line.split() for line in text.splitlines()]
    assert ["sensitivity", "1.0000", "1.0000", "to", "1.0000"] in lines
    assert ["specificity", "-", "-"] in lines
