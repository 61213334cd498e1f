"""`h2aseg report` from folders to pages."""

import base64
import io
import json
import math
import os
import re

import numpy as np
import pytest
import SimpleITK
from PIL import Image

from h2aseg_nnunet import cli
from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.report import case_page as case_report
from h2aseg_nnunet.petct.report import run as report
from h2aseg_nnunet.petct.report.case_page import PageSettings
from h2aseg_nnunet.petct.report.run import make_report
from tests.unit.petct.report.conftest import FALSE, MISSED, SHAPE, TRUE, Folders, arrays
from tests.unit.petct.report.pages import Page, check

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def folders(tmp_path):
    return Folders(tmp_path)


def run(arguments):
    return cli.main([*arguments, "-np", "1"])


def case_page(folders, name):
    return Page(folders.output / "cases" / f"{name}.html")


def pictures(page):
    """Pixels, size on the page, and outlines by kind of every picture."""
    found = []
    for svg in re.findall(r'<svg class="(?:dark|light)".*?</svg>', page.text, re.DOTALL):
        uri = re.search(r'href="data:image/\w+;base64,([^"]+)"', svg)[1]
        width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups())
        outlines = dict(re.findall(r'class="outline (\w+)" d="([^"]+)"', svg))
        found.append((np.asarray(Image.open(io.BytesIO(base64.b64decode(uri)))), (width, height), outlines))
    return found


def extent(path):
    points = np.array(re.findall(r"([\d.]+) ([\d.]+)", path), float)
    return points.min(axis=0), points.max(axis=0)


def test_report_has_an_overview_and_a_page_per_case(folders, capsys):
    folders.add("patient_1")
    folders.add("patient_2", prediction=arrays()["reference"])

    assert run(folders.with_references()) == 0

    assert f"Open {folders.output / 'index.html'}" in capsys.readouterr().out
    overview = Page(folders.output / "index.html")
    check(overview)
    assert {"cases/patient_1.html", "cases/patient_1.svg", "cases/patient_2.html"} <= overview.links()
    assert "Lesions found 3 of 4" in overview.visible()
    for name in ("patient_1", "patient_2"):
        check(case_page(folders, name))
    words = case_page(folders, "patient_1").visible()
    assert "Dice 0.615" in words and "1 of 2" in words
    assert "T1: found, 0.58 ml, SUVmax 8.0" in words and "M1: missed" in words and "F1: false" in words
    assert (folders.output / "cases" / "order.js").read_text() == 'const CASES = ["patient_1", "patient_2"];\n'


def test_page_shows_each_lesion_where_it_is(folders):
    """The darkest pixels of the coronal projection lie inside the outlines, at the right size in millimeters."""
    folders.add("case")
    run(folders.with_references())
    pet, (width, height), outlines = pictures(case_page(folders, "case"))[0]

    scale = np.array([width, height]) / pet.shape[::-1]  # the body fills all of this small image
    assert width / height == pytest.approx(SHAPE[2] * 4 / (SHAPE[0] * 2), rel=1e-3)
    for kind, place in (("found", TRUE), ("missed", MISSED), ("false", FALSE)):
        mask = np.zeros(SHAPE, bool)
        mask[place] = True
        rows, columns = np.nonzero(mask.any(axis=1)[::-1])
        low, high = extent(outlines[kind])
        np.testing.assert_allclose(low, np.array([columns.min(), rows.min()]) * scale, atol=0.1)
        np.testing.assert_allclose(high, np.array([columns.max() + 1, rows.max() + 1]) * scale, atol=0.1)
        suv = {"found": 8, "missed": 6, "false": 4}[kind]
        assert pet[rows[0], columns[0]] == pytest.approx(255 * (1 - suv / 10), abs=1)


@pytest.mark.parametrize("orientation", ["RAS", "SPR"])
def test_orientation_of_the_files_does_not_change_the_pictures(folders, orientation):
    folders.add("straight")
    folders.add("turned", change=lambda image: SimpleITK.DICOMOrient(image, orientation))
    run(folders.with_references())

    straight, turned = (pictures(case_page(folders, name)) for name in ("straight", "turned"))
    assert len(straight) == 2 + 3 * 3
    for (one, one_size, one_outlines), (other, other_size, other_outlines) in zip(straight, turned, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one_size == other_size
        assert {kind: extent(path)[0].tolist() for kind, path in one_outlines.items()} == {
            kind: extent(path)[0].tolist() for kind, path in other_outlines.items()
        }


def test_works_without_references(folders):
    folders.add("case")

    assert run(folders.arguments()) == 0

    page, overview = case_page(folders, "case"), Page(folders.output / "index.html")
    check(page)
    check(overview)
    assert "P1: predicted" in page.visible() and "Dice" not in page.visible()
    assert "Largest volumes" in overview.visible() and "Dice" not in overview.visible()


def test_each_class_and_region_has_its_own_section(folders):
    labels = arrays()["reference"].copy()
    labels[MISSED] = 2
    folders.add("case", reference=labels, prediction=labels)
    folders.describe({"background": 0, "whole <tumor>": [1, 2], "core": 2}, regions_class_order=[1, 2])

    assert run(folders.with_references()) == 0

    page = case_page(folders, "case")
    check(page)
    check(Page(folders.output / "index.html"))
    record = json.loads((folders.output / "cases" / "case.json").read_text())["classes"]
    assert {name: measures["reference_lesions"] for name, measures in record.items()} == {
        "whole <tumor>": 2,
        "core": 1,
    }
    assert "whole <tumor>" in page.visible()


def test_what_nobody_judged_counts_for_nothing(folders):
    labels = arrays()["reference"].copy()
    labels[FALSE] = 2
    folders.add("case", reference=labels)
    folders.describe({"background": 0, "tumor": 1, "ignore": 2})
    run(folders.with_references())

    record = json.loads((folders.output / "cases" / "case.json").read_text())["classes"]
    assert list(record) == ["tumor"] and record["tumor"]["false"] == 0
    assert "0.05 ml are not judged" in case_page(folders, "case").visible()  # 2 voxels of 24 mm3


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("reference", lambda mask: mask.astype(np.uint16) * 255, "holds the value 255 in"),
        ("reference", lambda mask: mask.astype(np.int16) - (mask == 0), "holds the value -1 in"),
        ("prediction", lambda mask: mask * 2, "holds the value 2 in"),
        ("prediction", lambda mask: mask.astype(np.float32) * 0.6, "holds the value 0.6 in"),
    ],
    ids=["255", "-1", "another class", "probabilities"],
)
def test_a_mask_with_undeclared_values_is_refused_by_name(folders, capsys, kind, change, words):
    folders.add("good")
    bad = folders.add("bad", **{kind: change(arrays()[kind])})[kind]

    assert run(folders.with_references()) == 1

    page = Page(folders.output / "index.html")
    assert f"{bad} {words}" in page.visible() and "declares 0, 1" in page.visible()
    assert "cases/good.html" in page.links() and "cases/bad.html" not in page.links()


def test_references_may_declare_an_ignore_label_of_their_own(folders):
    labels = arrays()["reference"].copy()
    labels[FALSE] = 2
    folders.add("case", reference=labels)
    folders.describe({"background": 0, "tumor": 1, "ignore": 2}, folders.references)

    assert run(folders.with_references()) == 0

    assert json.loads((folders.output / "cases" / "case.json").read_text())["classes"]["tumor"]["false"] == 0


def test_a_label_that_one_description_ignores_and_the_other_shows_is_refused(folders, capsys):
    folders.add("case")
    folders.describe({"background": 0, "tumor": 1, "node": 2})
    folders.describe({"background": 0, "tumor": 1, "ignore": 2}, folders.references)

    assert run(folders.with_references()) == 1

    assert "labelsTs/dataset.json declares 2 as ignore label" in capsys.readouterr().err.splitlines()[-1]
    assert run(folders.with_references("--dataset-json", str(folders.predictions / "dataset.json"))) == 0


def test_classes_are_needed(folders, capsys):
    folders.add("case")
    folders.describe({"background": 0})

    assert run(folders.with_references()) == 1

    assert "dataset.json names no class beside the background" in capsys.readouterr().err


def test_a_description_is_needed(folders, capsys):
    folders.add("case")
    (folders.predictions / "dataset.json").rename(folders.predictions / "other.json")

    assert run(folders.with_references()) == 1

    assert "name the file with --dataset-json" in capsys.readouterr().err
    assert run(folders.with_references("--dataset-json", str(folders.predictions / "other.json"))) == 0


def test_foreign_files_among_the_pages_are_left_alone(folders):
    folders.add("case")
    run(folders.with_references())
    notes = folders.output / "cases" / "notes.json"
    notes.write_text('{"mine": 1}')

    assert run(folders.with_references()) == 0

    assert notes.read_text() == '{"mine": 1}'


@pytest.mark.parametrize("empty", [("reference",), ("prediction",), ("reference", "prediction")])
def test_empty_masks(folders, empty):
    folders.add("case", **{kind: np.zeros(SHAPE, np.uint8) for kind in empty})

    assert run(folders.with_references()) == 0

    check(case_page(folders, "case"))
    check(Page(folders.output / "index.html"))
    if len(empty) == 2:
        assert "No lesion in reference or prediction." in case_page(folders, "case").visible()


def test_names_are_escaped_and_their_pages_are_found(folders):
    name = "a <b>'&\" #1?%20"
    folders.add(name)

    assert run(folders.with_references()) == 0

    overview, page = Page(folders.output / "index.html"), case_page(folders, name)
    check(overview)
    check(page)
    assert f"cases/{name}.html" in overview.links()
    assert page.all("body") == [{"data-case": name}]
    assert not overview.all("b") and not page.all("b")
    assert " ".join(name.split()) in overview.visible()


def test_finished_cases_are_not_drawn_again(folders, monkeypatch):
    drawn = []

    def watch(files, *rest):
        drawn.append(files.name)
        case_report.write_case(files, *rest)

    monkeypatch.setattr(report, "write_case", watch)
    for name in ("a", "b", "c"):
        files = folders.add(name)
    run(folders.with_references())
    assert drawn == ["a", "b", "c"]

    run(folders.with_references())
    assert drawn == ["a", "b", "c"]

    os.utime(files["prediction"], (1, 1))
    (folders.output / "cases" / "a.svg").unlink()
    run(folders.with_references())
    assert drawn[3:] == ["a", "c"]

    run(folders.with_references("--max-suv", "20"))
    assert drawn[5:] == ["a", "b", "c"]


def test_interruption_leaves_whole_pages_and_goes_on(folders, monkeypatch, capsys):
    def interrupt_at_b(files, *rest):
        if files.name == "b":
            raise KeyboardInterrupt
        case_report.write_case(files, *rest)

    for name in ("a", "b"):
        folders.add(name)
    monkeypatch.setattr(report, "write_case", interrupt_at_b)
    assert run(folders.with_references()) == 130
    assert not (folders.output / "index.html").exists()
    assert sorted(file.name for file in (folders.output / "cases").iterdir()) == ["a.html", "a.json", "a.svg"]

    monkeypatch.undo()
    assert run(folders.with_references()) == 0
    check(Page(folders.output / "index.html"))


def test_case_that_is_no_longer_predicted_leaves_the_report(folders):
    folders.add("stays")
    folders.add("goes")
    run(folders.with_references())
    (folders.predictions / "goes.nii.gz").unlink()

    assert run(folders.with_references()) == 0

    assert not list((folders.output / "cases").glob("goes*"))
    assert "goes" in Page(folders.output / "index.html").visible()  # as one without prediction


def test_damaged_file_is_named_and_the_others_are_shown(folders, capsys):
    folders.add("good")
    bad = folders.add("bad")["pet"]
    bad.write_bytes(bad.read_bytes()[:100])

    assert run(folders.with_references()) == 1

    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("h2aseg report: 1 predictions could not be shown: bad")
    overview = Page(folders.output / "index.html")
    check(overview)
    assert str(bad) in overview.visible()
    assert "cases/good.html" in overview.links() and "cases/bad.html" not in overview.links()
    assert not list((folders.output / "cases").glob("bad*"))


def test_every_case_damaged_still_gives_a_page_that_says_so(folders):
    files = folders.add("bad")
    files["ct"].write_bytes(b"")

    assert run(folders.with_references()) == 1

    check(Page(folders.output / "index.html"))


def test_incomplete_cases_are_named(folders, capsys):
    for name in ("whole", "no_pet", "no_reference", "no_prediction"):
        files = folders.add(name)
        kind = name.removeprefix("no_")
        if kind in files:
            files[kind].unlink()

    assert run(folders.with_references()) == 1

    captured = capsys.readouterr()
    assert "Predicted, but CT or PET is missing: no_pet" in captured.out
    assert "No reference: not compared: no_reference" in captured.out
    assert "No prediction: not in this report: no_prediction" in captured.out
    words = Page(folders.output / "index.html").visible()
    assert all(name in words for name in ("no_pet", "no_reference", "no_prediction"))


def test_folder_with_something_else_is_left_alone(folders, capsys):
    folders.add("case")
    folders.output.mkdir()
    (folders.output / "thesis.txt").write_text("mine")

    assert run(folders.with_references()) == 1

    assert "is not a report" in capsys.readouterr().err
    assert [file.name for file in folders.output.iterdir()] == ["thesis.txt"]


def test_report_on_other_predictions_is_left_alone(folders, tmp_path, capsys):
    folders.add("case")
    run(folders.with_references())
    before = (folders.output / "index.html").read_text()
    folders.predictions.rename(tmp_path / "moved")
    folders.predictions = tmp_path / "moved"

    assert run(folders.with_references()) == 1

    assert "choose another folder" in capsys.readouterr().err
    assert (folders.output / "index.html").read_text() == before


@pytest.mark.parametrize("options", [("--num-lesions", "-1"), ("-np", "0")])
def test_impossible_settings_are_refused(folders, capsys, options):
    folders.add("case")

    assert cli.main([*folders.arguments(), *options]) == 1

    assert options[0] in capsys.readouterr().err
    assert not folders.output.exists()


@pytest.mark.parametrize("max_suv", [0, -1, math.nan, math.inf])
def test_a_gray_scale_needs_a_highest_suv(folders, max_suv):
    folders.add("case")

    with pytest.raises(UserError, match=f"--max-suv {max_suv:g}: a number above 0"):
        make_report(folders.images, folders.predictions, folders.output, settings=PageSettings(max_suv=max_suv))

    assert not folders.output.exists()


def test_cases_are_drawn_in_parallel(folders):
    for name in ("a", "b"):
        folders.add(name)

    result = make_report(folders.images, folders.predictions, folders.output, folders.references, num_processes=2)

    assert result.failed == [] and result.notes == {}
    assert {f"cases/{name}.html" for name in ("a", "b")} <= Page(result.page).links()


def test_number_of_lesions_in_slices_is_the_users_choice(folders):
    folders.add("case")
    run(folders.with_references("--num-lesions", "0"))

    page = case_page(folders, "case")
    assert len(pictures(page)) == 2
    assert "T1 found" in page.visible()


def test_table_of_a_noisy_prediction_stays_readable(folders):
    noise = np.zeros(SHAPE, np.uint8)
    noise[::2, ::2, ::2] = 1  # 480 lesions
    folders.add("case", reference=np.zeros_like(noise), prediction=noise)
    run(folders.with_references())

    page = case_page(folders, "case")
    assert "380 more, the smallest of their kind, are left out" in page.visible()
    assert "480" in page.visible()
    assert len([head for head in page.all("th") if head.get("scope") == "row"]) == 100
