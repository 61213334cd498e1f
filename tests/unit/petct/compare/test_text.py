import csv
import json
import math

import pytest
from matplotlib.image import imread

from h2aseg_nnunet.petct.compare.collect import PredictedCases, collect
from h2aseg_nnunet.petct.compare.text import check_outputs, to_markdown, write
from tests.unit.petct.compare.conftest import finish


@pytest.fixture
def finished(runs):
    """Two cases and one without a lesion; B is better by 0.25, with twice the parameters; fold 1 is missing."""
    a, b, *missing = made = runs(("A", "B"), folds=(0, 1))
    dice = {"a": 0.25, "b": 0.5, "healthy": math.nan}
    finish(a, dice)
    finish(b, {case: value + 0.25 for case, value in dice.items()}, costs={"parameters": 2000})
    parts = [PredictedCases(run.model.name, 0, "0", run.evaluation, dice) for run in (a, b)]
    return collect(made, parts, {run.name: run.log for run in missing}), made


def rows(text: str, heading: str) -> list[list[str]]:
    """Cells of the table whose first line holds the heading."""
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    (table,) = (table for table in tables if heading in table[0])
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def test_markdown_has_means_differences_costs_and_what_is_missing(finished):
    comparison, made = finished

    text = to_markdown(comparison, made)

    assert rows(text, "mean Dice")[1][:3] == ["B", "1/2", "3"]
    assert rows(text, "mean Dice")[1][3].startswith("0.6250 [")
    dice, *_ = rows(text, "mean difference")
    assert dice == ["B", "Dice", "+0.2500 [+0.2500, +0.2500]", "2", "2 / 0 / 0", "0.5", "0.5"]
    assert rows(text, "parameters")[1] == ["B", "2,000", "0.5", "1.00", "8 x 8 x 8, 2"]
    assert f"- B:nnUNetPlans fold 1 seed 0 (log: {made[3].log})" in text


def test_files_hold_the_same_and_undefined_is_null_or_empty(finished, tmp_path):
    comparison, made = finished
    files = tmp_path / "out" / "compare"

    text = write(comparison, made, files)

    content = json.loads(files.with_suffix(".json").read_text())
    assert content["trainers"]["A"]["summary"]["dice"] | {"interval_95": None} == {
        "mean": 0.375,
        "median": 0.375,
        "interval_95": None,
        "undefined": 1,
    }
    assert content["differences"]["B"]["dice"]["mean"] == 0.25
    assert len(content["about"]["commands"]) == 4
    table = list(csv.DictReader(files.with_suffix(".csv").read_text().splitlines()))
    assert [row["dice"] for row in table if row["case"] == "healthy"] == ["", ""]
    assert len(table) == 6
    assert files.with_suffix(".md").read_text() == text
    assert imread(files.with_suffix(".png")).ndim == 3


def test_only_a_table_of_the_same_comparison_is_replaced(finished, tmp_path):
    comparison, made = finished
    files = tmp_path / "out" / "compare"
    check_outputs(files, made[0])
    write(comparison, made, files)
    check_outputs(files, made[0])

    with pytest.raises(ValueError, match="is a comparison on Dataset901_binary 3d_fullres"):
        check_outputs(files, made[0]._replace(configuration="2d"))


def test_a_file_is_no_folder_for_a_comparison(runs, tmp_path):
    (tmp_path / "out").write_text("mine")

    with pytest.raises(ValueError, match=r"out is a file: choose another folder with -o"):
        check_outputs(tmp_path / "out" / "compare", runs()[0])


def test_files_of_something_else_are_left_alone(runs, tmp_path):
    (tmp_path / "compare.md").write_text("mine")

    with pytest.raises(ValueError, match=r"compare\.md is not of a comparison"):
        check_outputs(tmp_path / "compare", runs()[0])
