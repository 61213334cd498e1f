import csv
import json
import os
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import SimpleITK

from h2aseg_nnunet import cli
from h2aseg_nnunet.petct.files import exclusively
from tests.models import make_plans
from tests.unit.petct.robustness.conftest import BOX, BOX_ML, SHAPE, write_case

# nnU-Net and what it stands on warn of their own matters
pytestmark = pytest.mark.filterwarnings("default")

CT_ONLY, PET_ONLY = (1, 0), (0, 1)


def read(file: Path) -> np.ndarray:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))


def run(model: Path, data: Path, *options: str) -> int:
    folders = ["-i", str(data / "imagesTs"), "-r", str(data / "labelsTs"), "-o", str(data / "out")]
    return cli.main(["robustness", "-m", str(model), *folders, "-device", "cpu", "-np", "1", *options])


def report(data: Path) -> dict:
    return json.loads((data / "out" / "robustness.json").read_text())


def dice_of(data: Path, case: str) -> dict[str, float]:
    return {condition: values[case]["dice"] for condition, values in report(data)["cases"].items()}


def test_a_model_of_pet_only_loses_its_tumor_with_the_pet_and_nothing_else(make_model, tmp_path):
    write_case(tmp_path, "case")
    assert run(make_model(PET_ONLY), tmp_path) == 0

    assert dice_of(tmp_path, "case") == {
        **{"intact": 1, "PET_missing": 0, "CT_missing": 1, "CT_shifted_1": 1, "CT_shifted_2": 1, "CT_shifted_4": 1}
    }
    lost = report(tmp_path)["cases"]["PET_missing"]["case"]
    assert lost["false_negative_volume_ml"] == pytest.approx(BOX_ML)
    assert lost["false_positive_volume_ml"] == 0


def test_a_model_of_ct_only_follows_the_ct(make_model, tmp_path):
    """The box is 6 voxels wide: moved by k, 6 - k of them overlap."""
    write_case(tmp_path, "case")
    assert run(make_model(CT_ONLY), tmp_path, "--shifts", "1", "2", "-4") == 0

    assert dice_of(tmp_path, "case") == pytest.approx(
        {
            **{"intact": 1, "PET_missing": 1, "CT_missing": 0},
            **{"CT_shifted_1": 5 / 6, "CT_shifted_2": 4 / 6, "CT_shifted_-4": 2 / 6},
        }
    )
    expected = np.zeros(SHAPE)
    expected[BOX[0], BOX[1], slice(BOX[2].start + 2, BOX[2].stop + 2)] = 1
    moved = read(tmp_path / "out" / "predictions" / "CT_shifted_2" / "case.nii.gz")
    np.testing.assert_array_equal(moved, expected)


def test_folds_are_averaged_unless_one_is_chosen(make_model, tmp_path):
    """(CT + PET) / 2 exceeds 1.5 where one is 3 and the other its mean, for the mean is above 0."""
    write_case(tmp_path, "case")
    model = make_model(CT_ONLY, PET_ONLY)

    assert run(model, tmp_path, "--shifts") == 0
    assert report(tmp_path)["about"]["folds"] == ["0", "1"]
    assert dice_of(tmp_path, "case") == {"intact": 1, "PET_missing": 1, "CT_missing": 1}

    assert run(model, tmp_path, "--shifts", "-f", "1") == 0
    assert dice_of(tmp_path, "case") == {"intact": 1, "PET_missing": 0, "CT_missing": 1}


def test_differences_are_paired_over_the_cases_with_a_lesion(make_model, tmp_path, capsys):
    for name in ("a", "b"):
        write_case(tmp_path, name)
    write_case(tmp_path, "healthy", lesion=False)
    write_case(tmp_path, "unlabeled")
    (tmp_path / "labelsTs" / "unlabeled.nii.gz").unlink()
    assert run(make_model(CT_ONLY), tmp_path, "--shifts", "3") == 0

    shifted = report(tmp_path)["conditions"]["CT_shifted_3"]
    assert shifted["summary"]["dice"] == {"mean": 0.5, "median": 0.5, "interval_95": [0.5, 0.5], "undefined": 1}
    assert shifted["difference_from_intact"]["dice"] == {
        **{"mean": -0.5, "median": -0.5, "interval_95": [-0.5, -0.5]},
        **{"num_cases": 2, "larger": 0, "smaller": 2},
    }
    assert shifted["difference_from_intact"]["false_positive_volume_ml"]["num_cases"] == 3
    assert report(tmp_path)["cases"]["intact"]["healthy"]["dice"] is None
    text = (tmp_path / "out" / "robustness.md").read_text()
    assert text in capsys.readouterr().out
    assert "| CT shifted by 3 | -0.5000 [-0.5000, -0.5000] |" in text
    assert "| 2 / 0 / 0 " in text
    assert (
        "Cases without a lesion in the reference, which have no Dice and no FNV: 1." in text
        and "left out: 1 (unlabeled)" in text
    )
    with (tmp_path / "out" / "robustness.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3 * 4
    assert [row["dice"] for row in rows if row["condition"] == "CT_missing"] == ["0.0", "0.0", ""]
    picture = matplotlib.image.imread(tmp_path / "out" / "robustness.png")
    assert picture.std() > 0


def test_without_any_lesion_only_false_positives_are_reported(make_model, tmp_path):
    write_case(tmp_path, "healthy", lesion=False)
    assert run(make_model(CT_ONLY), tmp_path, "--shifts") == 0

    missing = report(tmp_path)["conditions"]["CT_missing"]
    assert missing["difference_from_intact"]["dice"]["mean"] is None
    assert missing["summary"]["false_positive_volume_ml"]["mean"] == 0
    assert "| CT missing  | -         | 0.00 [0.00, 0.00] | -             |" in (
        (tmp_path / "out" / "robustness.md").read_text()
    )
    assert (tmp_path / "out" / "robustness.png").is_file()


def test_finished_predictions_are_kept_only_with_c_and_only_of_the_same_model(make_model, tmp_path, capsys):
    write_case(tmp_path, "case")
    model, kept = make_model(CT_ONLY, PET_ONLY), ["--c", "-f", "0"]
    assert run(model, tmp_path, *kept, "--shifts", "1") == 0
    file = tmp_path / "out" / "predictions" / "CT_shifted_1" / "case.nii.gz"
    intact = tmp_path / "out" / "predictions" / "intact" / "case.nii.gz"
    file.write_bytes(intact.read_bytes())  # recognizable: no shift has this result

    assert run(model, tmp_path, *kept, "--shifts", "1", "2") == 0
    assert dice_of(tmp_path, "case")["CT_shifted_1"] == 1
    assert dice_of(tmp_path, "case")["CT_shifted_2"] == pytest.approx(4 / 6)

    assert run(model, tmp_path, "--c", "-f", "1") == 1
    assert "(folds ['0'], now ['1'])" in capsys.readouterr().err
    assert file.exists()

    later = file.stat().st_mtime + 10
    os.utime(model / "fold_0" / "checkpoint_final.pth", (later, later))
    assert run(model, tmp_path, *kept, "--shifts", "1") == 0
    assert dice_of(tmp_path, "case")["CT_shifted_1"] == pytest.approx(5 / 6)

    assert run(model, tmp_path, "-f", "1", "--shifts") == 0
    assert not file.exists()
    assert dice_of(tmp_path, "case") == {"intact": 1, "PET_missing": 0, "CT_missing": 1}


def test_files_of_somebody_else_stay_when_a_report_is_replaced(make_model, tmp_path, capsys):
    write_case(tmp_path, "case")
    model = make_model(CT_ONLY)
    assert run(model, tmp_path, "--shifts", "1") == 0
    notes, other_model = (
        tmp_path / "out" / name for name in ("predictions/intact/notes.txt", "predictions/mine/a.nii.gz")
    )
    for file in (notes, other_model):
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine")

    assert run(model, tmp_path, "--shifts") == 0
    assert notes.read_text() == other_model.read_text() == "mine"
    assert not (tmp_path / "out" / "predictions" / "CT_shifted_1").exists()

    in_the_way = tmp_path / "out" / "predictions" / "CT_shifted_2" / "case.nii.gz"
    in_the_way.parent.mkdir()
    in_the_way.write_text("mine")
    assert run(model, tmp_path, "--shifts", "2") == 1
    assert "case.nii.gz would be replaced, but another program wrote it" in capsys.readouterr().err
    assert in_the_way.read_text() == "mine"


def test_a_report_of_an_earlier_version_is_replaced_and_no_more(make_model, tmp_path):
    """It has no list of its files."""
    write_case(tmp_path, "case")
    model = make_model(CT_ONLY)
    assert run(model, tmp_path, "--shifts", "1") == 0
    for file in ((tmp_path / "out" / ".h2aseg_files"), *(tmp_path / "out").rglob("dataset.json")):
        file.unlink()
    (tmp_path / "out" / "predictions" / "thesis.txt").write_text("mine")

    assert run(model, tmp_path, "--shifts") == 0

    assert (tmp_path / "out" / "predictions" / "thesis.txt").read_text() == "mine"
    assert not (tmp_path / "out" / "predictions" / "CT_shifted_1").exists()


def test_a_second_report_in_the_same_folder_is_refused_while_the_first_is_made(make_model, tmp_path, capsys):
    write_case(tmp_path, "case")

    with exclusively(tmp_path / "out" / ".lock"):
        assert run(make_model(CT_ONLY), tmp_path) == 1

    assert "another process works in" in capsys.readouterr().err


def test_a_folder_of_somebody_elses_settings_is_left_alone(make_model, tmp_path, capsys):
    write_case(tmp_path, "case")
    settings = tmp_path / "out" / "settings.json"
    settings.parent.mkdir()
    settings.write_text('{"editor.fontSize": 14}')

    assert run(make_model(CT_ONLY), tmp_path) == 1

    assert "is not a report of robustness" in capsys.readouterr().err
    assert settings.read_text() == '{"editor.fontSize": 14}'


def test_voxels_that_nobody_judged_are_left_out(make_model, tmp_path):
    """The model finds the box; a part of it was not judged, the rest is tumor in the reference."""
    write_case(tmp_path, "case")
    file = tmp_path / "labelsTs" / "case.nii.gz"
    image = SimpleITK.ReadImage(str(file))
    for x in range(BOX[2].start, BOX[2].start + 3):
        for y in range(BOX[1].start, BOX[1].stop):
            for z in range(BOX[0].start, BOX[0].stop):
                image[x, y, z] = 2
    SimpleITK.WriteImage(image, str(file))
    labels = {"labels": {"background": 0, "tumor": 1, "ignore": 2}}
    (tmp_path / "labelsTs" / "dataset.json").write_text(json.dumps(labels))

    assert run(make_model(CT_ONLY), tmp_path, "--shifts") == 0

    assert report(tmp_path)["cases"]["intact"]["case"] == {
        **{"dice": 1, "false_positive_volume_ml": 0, "false_negative_volume_ml": 0}
    }


def test_every_mistake_is_one_sentence_and_writes_nothing(make_model, tmp_path, capsys):
    for name in ("a", "b"):
        write_case(tmp_path, name)
    model = make_model(CT_ONLY)
    for options, message in (
        (("-f", "3"), "fold_3/checkpoint_final.pth does not exist; folds with that file: 0."),
        (("-chk", "checkpoint_best.pth"), "folds with that file: none"),
        (("-step_size", "1.5"), "-step_size 1.5"),
        (("-np", "0"), "-np 0"),
        (("--shifts", "0"), "--shifts 0"),
        (("-i", str(tmp_path / "nowhere")), "is not a folder"),
        (("-r", str(tmp_path / "nowhere")), "is not a folder"),
        (("-m", str(tmp_path)), "dataset.json and plans.json missing"),
    ):
        capsys.readouterr()
        assert run(model, tmp_path, *options) == 1
        error = capsys.readouterr().err
        assert error.startswith("h2aseg robustness: ") and message in error, error
        assert error.count("\n") == 1
        assert not (tmp_path / "out").exists()

    for channel in range(2):
        (tmp_path / "imagesTs" / f"b_000{channel}.nii.gz").unlink()
    assert run(model, tmp_path) == 1
    assert "lacks the images of b, which have references" in capsys.readouterr().err

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    assert run(model, tmp_path) == 1
    assert "is not a report of robustness" in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "out").rglob("*")] == ["thesis.txt"]


def test_a_cascade_is_refused(make_model, tmp_path, capsys):
    write_case(tmp_path, "case")
    model = make_model(CT_ONLY)
    plans = make_plans()
    plans["configurations"]["3d_lowres"] = make_plans()["configurations"]["3d_fullres"]
    plans["configurations"]["3d_fullres"]["previous_stage"] = "3d_lowres"
    (model / "plans.json").write_text(json.dumps(plans))

    assert run(model, tmp_path) == 1

    assert "second stage of a cascade" in capsys.readouterr().err
