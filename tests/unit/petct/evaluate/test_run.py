import importlib.util
import json
import os
import shutil

import numpy as np
import pytest

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.evaluate import run as evaluate
from h2aseg_nnunet.petct.evaluate.run import MetricSettings, evaluate_folders
from tests.locations import TEST_DATA

AUTOPET_REAL = TEST_DATA / "metrics" / "autopet_real"

needs_monai = pytest.mark.skipif(importlib.util.find_spec("monai") is None, reason="MONAI is not installed")


def with_nan(values):
    return {name: np.nan if value is None else value for name, value in values.items()}


def bar(*values):
    return np.array([[values]], np.uint8)


@pytest.fixture
def folders(tmp_path, write):
    """Two cases of voxels of 1 ml: one half found, one free of lesions."""
    references, predictions = tmp_path / "references", tmp_path / "predictions"
    spacing_mm = (10.0, 10.0, 10.0)
    write(references / "free.nii.gz", bar(0, 0, 0, 0), spacing_mm)
    write(predictions / "free.nii.gz", bar(0, 0, 0, 0), spacing_mm)
    write(references / "half.nii.gz", bar(1, 1, 0, 0), spacing_mm)
    write(predictions / "half.nii.gz", bar(0, 1, 0, 1), spacing_mm)
    return references, predictions


def test_autopet_reference_values(reference_data):
    folder = reference_data / "autopet"

    evaluation = evaluate_folders(folder / "gt", folder / "pred", MetricSettings("autopet"))

    expected = json.loads((reference_data / "expected.json").read_text())["autopet"]
    assert evaluation.cases == {
        case: pytest.approx(with_nan(values), rel=1e-6, nan_ok=True) for case, values in expected.items()
    }
    assert evaluation.aggregate["num_cases"] == 8
    assert evaluation.aggregate["dice"]["undefined"] == 2


@pytest.mark.parametrize("protocol", ["hecktor22", "hecktor25"])
def test_hecktor_reference_values(reference_data, protocol):
    folder = reference_data / "hecktor"

    evaluation = evaluate_folders(folder / "gt", folder / "pred", MetricSettings(protocol))

    expected = json.loads((reference_data / "expected.json").read_text())["hecktor"]
    assert evaluation.aggregate["aggregated_dice"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.skipif(not AUTOPET_REAL.is_dir(), reason=f"the real AutoPET case is not at {AUTOPET_REAL}")
def test_autopet_reference_values_of_a_real_case(reference_data, tmp_path):
    baselines = ("nnunet_baseline", "datacentric_baseline")
    for folder in ("references", "predictions"):
        (tmp_path / folder).mkdir()
    for baseline in baselines:
        shutil.copy(AUTOPET_REAL / "ground_truth.nii.gz", tmp_path / "references" / f"{baseline}.nii.gz")
        shutil.copy(AUTOPET_REAL / f"{baseline}.nii.gz", tmp_path / "predictions")

    evaluation = evaluate_folders(tmp_path / "references", tmp_path / "predictions", MetricSettings("autopet"))

    expected = json.loads((reference_data / "expected.json").read_text())["autopet_real"]
    for baseline in baselines:
        assert evaluation.cases[baseline] == pytest.approx(expected[baseline], rel=1e-6)


def test_hecktor_counts_a_missing_prediction_as_empty_and_names_it(reference_data, tmp_path):
    """The prediction of case_02 is empty, so that without it the score stays the same."""
    folder = reference_data / "hecktor"
    predictions = shutil.copytree(folder / "pred", tmp_path / "pred")
    (predictions / "case_02.nii.gz").unlink()

    evaluation = evaluate_folders(folder / "gt", predictions, MetricSettings("hecktor22"))

    complete = evaluate_folders(folder / "gt", folder / "pred", MetricSettings("hecktor22"))
    assert evaluation.aggregate["aggregated_dice"] == complete.aggregate["aggregated_dice"]
    assert evaluation.aggregate["missing_predictions"] == ["case_02"]
    assert evaluation.aggregate["missing_counted_as"] == "empty"


@pytest.mark.parametrize("protocol", ["autopet", "autopet2", "lesion"])
def test_elsewhere_a_missing_prediction_is_an_error_that_names_it(folders, protocol):
    (folders[1] / "free.nii.gz").unlink()

    with pytest.raises(ValueError, match=r"1 of 2 references have no prediction in .*: free\."):
        evaluate_folders(*folders, MetricSettings(protocol))


def test_a_missing_prediction_counts_as_empty_if_asked_for(folders):
    (folders[1] / "half.nii.gz").unlink()

    evaluation = evaluate_folders(*folders, MetricSettings("autopet"), missing="empty")

    assert evaluation.cases["half"] == {
        "dice": 0,
        "false_positive_volume_ml": 0,
        "false_negative_volume_ml": pytest.approx(2),
    }


def test_a_missing_prediction_is_left_out_if_asked_for(folders):
    (folders[1] / "half.nii.gz").unlink()

    evaluation = evaluate_folders(*folders, MetricSettings("hecktor22"), missing="skip")

    assert list(evaluation.cases) == ["free"]
    assert evaluation.aggregate["missing_predictions"] == ["half"]
    assert evaluation.aggregate["num_cases"] == 1


def test_pet_is_needed_of_evaluated_cases_only(folders, tmp_path, write):
    (folders[1] / "free.nii.gz").unlink()
    write(tmp_path / "suv" / "half.nii.gz", np.ones((1, 1, 4), np.float32), (10.0, 10.0, 10.0))

    evaluate_folders(*folders, MetricSettings("autopet"), pet_dir=tmp_path / "suv", missing="skip")
    with pytest.raises(ValueError, match="lacks the PET of free"):
        evaluate_folders(*folders, MetricSettings("autopet"), pet_dir=tmp_path / "suv", missing="empty")


def test_uptake_of_reference_and_prediction(folders, tmp_path, write):
    suv = np.array([[[2.0, 3.0, 50.0, 8.0]]], np.float32)
    for case in ("free", "half"):
        write(tmp_path / "imagesTr" / f"{case}_0001.nii.gz", suv, (10.0, 10.0, 10.0))
        write(tmp_path / "imagesTr" / f"{case}_0000.nii.gz", suv - 1000, (10.0, 10.0, 10.0))

    cases = evaluate_folders(*folders, MetricSettings("autopet"), pet_dir=tmp_path / "imagesTr").cases

    uptake = {name: value for name, value in cases["half"].items() if name.startswith(("tmtv", "tlg", "suv"))}
    assert uptake == pytest.approx(
        {
            "tmtv_ml_reference": 2,
            "tmtv_ml_prediction": 2,
            "tmtv_ml_difference": 0,
            "tlg_reference": 2 + 3,
            "tlg_prediction": 3 + 8,
            "tlg_difference": 6,
            "suv_max_reference": 3,
            "suv_max_prediction": 8,
            "suv_max_difference": 5,
        }
    )
    assert cases["free"]["tlg_reference"] == 0
    assert np.isnan(cases["free"]["suv_max_difference"])


def test_pet_that_is_no_number_is_named(folders, tmp_path, write):
    """ITK by itself reads NaN in NIfTI files as 0."""
    write(tmp_path / "suv" / "free.nii.gz", np.zeros((1, 1, 4), np.float32), (10.0, 10.0, 10.0))
    write(tmp_path / "suv" / "half.nii.gz", np.full((1, 1, 4), np.nan, np.float32), (10.0, 10.0, 10.0))

    with pytest.raises(ValueError, match=r"suv/half\.nii\.gz.*NaN"):
        evaluate_folders(*folders, MetricSettings("autopet"), pet_dir=tmp_path / "suv")


@needs_monai
def test_surface_metrics_name_their_tolerance(folders):
    cases = evaluate_folders(*folders, MetricSettings("autopet", tolerance_mm=2.5)).cases

    assert cases["half"]["hd95_mm"] == pytest.approx(0.95 * 20)  # of the predicted voxels, one is 20 mm away
    assert 0 < cases["half"]["nsd_2.5mm"] < 1
    assert np.isnan(cases["free"]["nsd_2.5mm"])


@needs_monai
def test_surface_metrics_of_each_hecktor_label(folders):
    (values, _) = evaluate_folders(*folders, MetricSettings("hecktor22", tolerance_mm=1)).cases.values()

    assert {"hd95_mm_GTVp", "nsd_1mm_GTVp", "hd95_mm_GTVn", "nsd_1mm_GTVn"} <= values.keys()


def test_every_case_with_a_problem_is_named(folders, write):
    write(folders[1] / "free.nii.gz", bar(0, 0, 0), (10.0, 10.0, 10.0))
    (folders[1] / "half.nii.gz").write_bytes(b"")

    with pytest.raises(ValueError, match=r"2 of 2 cases cannot be evaluated") as problem:
        evaluate_folders(*folders, MetricSettings("autopet"))

    assert "free.nii.gz is not on the grid of" in str(problem.value)
    assert "half.nii.gz" in str(problem.value)


def test_several_processes_give_the_same_as_one(folders):
    one, two = (evaluate_folders(*folders, MetricSettings("lesion"), num_processes=n) for n in (1, 2))

    np.testing.assert_equal(one._asdict(), two._asdict())


def die(case, **settings):
    os._exit(9)


def test_a_killed_process_is_an_error_not_a_wait_without_end(folders, monkeypatch):
    monkeypatch.setattr(evaluate, "_attempt", die)

    with pytest.raises(UserError, match=r"process was killed.*-np"):
        evaluate_folders(*folders, MetricSettings("autopet"), num_processes=2)


def test_the_names_of_cases_do_not_change_their_figures(folders, tmp_path):
    before = evaluate_folders(*folders, MetricSettings("autopet")).aggregate
    for folder in folders:
        (folder / "half.nii.gz").rename(folder / "a_half.nii.gz")

    np.testing.assert_equal(evaluate_folders(*folders, MetricSettings("autopet")).aggregate, before)


@pytest.mark.parametrize(
    ("settings", "options", "words"),
    [
        (MetricSettings("autopet9"), {}, "autopet9"),
        (MetricSettings("autopet", minimum_iou=0.5), {}, "decides nothing for autopet"),
        (MetricSettings("lesion", minimum_iou=50), {}, "at most 1, not 50"),
        (MetricSettings("autopet", tolerance_mm=-1), {}, "0 mm or more, not -1"),
        (MetricSettings("autopet"), {"missing": "ignore"}, "error, empty, skip, not 'ignore'"),
        (MetricSettings("autopet"), {"num_processes": 0}, "-np 0: 1 or more"),
    ],
)
def test_settings_that_do_not_fit_are_refused(folders, settings, options, words):
    with pytest.raises(ValueError, match=words):
        evaluate_folders(*folders, settings, **options)
