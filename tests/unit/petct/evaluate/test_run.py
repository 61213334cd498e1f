import importlib.util
import json
import math
import os
import shutil

import numpy as np
import pytest

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.evaluate import MetricSettings, evaluate_folders
from h2aseg_nnunet.petct.evaluate import run as evaluate
from h2aseg_nnunet.petct.evaluate.protocol import CaseArrays
from h2aseg_nnunet.petct.evaluate.protocols import find_protocol

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
        (MetricSettings("lesion", minimum_iou=50), {}, "--iou 50: a number above 0 and up to 1"),
        (MetricSettings("lesion", minimum_iou=math.nan), {}, "--iou nan: a number above 0"),
        (MetricSettings("autopet", tolerance_mm=-1), {}, "--surface -1: a tolerance of 0 mm or more"),
        (MetricSettings("autopet", tolerance_mm=math.nan), {}, "--surface nan"),
        (MetricSettings("autopet", tolerance_mm=math.inf), {}, "--surface inf"),
        (MetricSettings("autopet"), {"seed": -1}, "--seed -1: 0 or more"),
        (MetricSettings("autopet"), {"missing": "ignore"}, "error, empty, skip, not 'ignore'"),
        (MetricSettings("autopet"), {"num_processes": 0}, "-np 0: 1 or more"),
    ],
)
def test_settings_that_do_not_fit_are_refused(folders, settings, options, words):
    with pytest.raises(ValueError, match=words):
        evaluate_folders(*folders, settings, **options)


def describe(folder, labels):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))


TUMOR, WITH_IGNORE = {"background": 0, "tumor": 1}, {"background": 0, "tumor": 1, "ignore": 2}


@pytest.fixture
def half_judged(tmp_path, write):
    """One case of voxels of 1 ml, of which the last four are not judged: one false and one missed voxel are."""
    references, predictions = tmp_path / "dataset" / "labelsTr", tmp_path / "predictions"
    write(references / "case.nii.gz", bar(1, 1, 0, 0, 0, 1, 0, 2, 2, 2, 2), (10.0, 10.0, 10.0))
    write(predictions / "case.nii.gz", bar(1, 1, 0, 1, 0, 0, 0, 0, 1, 0, 1), (10.0, 10.0, 10.0))
    return references, predictions


JUDGED = {
    "autopet": {"dice": 4 / 6, "false_positive_volume_ml": 1, "false_negative_volume_ml": 1},
    "autopet2": {"dice": 4 / 6, "false_positive_volume_ml": 1, "false_negative_volume_ml": 1},
    "lesion": {
        "sensitivity": 1 / 2,
        "precision": 1 / 2,
        "F1": 1 / 2,
        "reference_lesions": 2,
        "found_lesions": 1,
        "predicted_lesions": 2,
        "true_lesions": 1,
    },
}


@pytest.mark.parametrize("protocol", JUDGED)
@pytest.mark.parametrize("place", ["dataset", "dataset/labelsTr", "predictions"])
def test_voxels_that_nobody_judged_are_left_out(half_judged, tmp_path, protocol, place):
    describe(tmp_path / place, WITH_IGNORE)

    evaluation = evaluate_folders(*half_judged, MetricSettings(protocol))

    assert evaluation.cases["case"] == pytest.approx(JUDGED[protocol])
    assert evaluation.aggregate["ignore_label"] == 2
    assert evaluation.aggregate["unjudged_cases"] == ["case"]


def test_a_named_dataset_json_declares_the_ignore_label(half_judged, tmp_path):
    describe(tmp_path / "elsewhere", WITH_IGNORE)

    evaluation = evaluate_folders(
        *half_judged, MetricSettings("autopet"), dataset_json=tmp_path / "elsewhere" / "dataset.json"
    )

    assert evaluation.cases["case"] == pytest.approx(JUDGED["autopet"])


def test_uptake_is_that_of_judged_voxels(half_judged, tmp_path, write):
    describe(tmp_path / "dataset", WITH_IGNORE)
    suv = np.arange(1, 12, dtype=np.float32).reshape(1, 1, 11)
    write(tmp_path / "suv" / "case.nii.gz", suv, (10.0, 10.0, 10.0))

    case = evaluate_folders(*half_judged, MetricSettings("autopet"), pet_dir=tmp_path / "suv").cases["case"]

    assert (case["tmtv_ml_reference"], case["tlg_reference"], case["suv_max_reference"]) == (3, 1 + 2 + 6, 6)
    assert (case["tmtv_ml_prediction"], case["tlg_prediction"], case["suv_max_prediction"]) == (3, 1 + 2 + 4, 4)


def test_hecktor_leaves_out_what_nobody_judged(tmp_path, write):
    references, predictions = tmp_path / "labelsTr", tmp_path / "predictions"
    describe(references, {"background": 0, "GTVp": 1, "GTVn": 2, "ignore": 3})
    write(references / "case.nii.gz", bar(1, 1, 2, 3, 3))
    write(predictions / "case.nii.gz", bar(1, 0, 2, 2, 1))

    evaluation = evaluate_folders(references, predictions, MetricSettings("hecktor22"))

    assert evaluation.aggregate["aggregated_dice"] == pytest.approx({"GTVp": 2 / 3, "GTVn": 1, "mean": 5 / 6})


def test_an_ignore_label_that_is_a_label_of_hecktor_is_refused(half_judged, tmp_path):
    describe(tmp_path / "dataset", WITH_IGNORE)

    with pytest.raises(UserError, match=r"dataset\.json declares 2 as ignore label, but HECKTOR's labels are .*GTVn"):
        evaluate_folders(*half_judged, MetricSettings("hecktor22"))


@needs_monai
def test_distances_are_refused_where_nobody_judged(half_judged, tmp_path):
    describe(tmp_path / "dataset", WITH_IGNORE)

    with pytest.raises(UserError, match=r"labelsTr/case\.nii\.gz has 4 voxels of the ignore label.*--surface"):
        evaluate_folders(*half_judged, MetricSettings("autopet", tolerance_mm=2))


@needs_monai
def test_distances_are_measured_where_all_is_judged(folders):
    describe(folders[0], WITH_IGNORE)

    assert "hd95_mm" in evaluate_folders(*folders, MetricSettings("autopet", tolerance_mm=2)).cases["half"]


@pytest.mark.parametrize("protocol", ["autopet", "autopet2", "lesion"])
@pytest.mark.parametrize("kind", [0, 1], ids=["reference", "prediction"])
@pytest.mark.parametrize(
    ("mask", "words"),
    [(bar(0, 1, 2, 0), "2 in 1 voxels; .* declares 0, 1"), (bar(0, 255, 255, 0), "Store 1 instead of 255")],
    ids=["another class", "255"],
)
def test_values_that_are_not_declared_are_refused(folders, write, protocol, kind, mask, words):
    describe(folders[1], TUMOR)
    write(folders[kind] / "half.nii.gz", mask, (10.0, 10.0, 10.0))

    with pytest.raises(UserError, match=rf"{folders[kind].name}/half\.nii\.gz holds .*{words}"):
        evaluate_folders(*folders, MetricSettings(protocol))


@pytest.mark.parametrize("kind", [0, 1], ids=["reference", "prediction"])
def test_minus_one_is_no_tumor(folders, write, kind):
    write(folders[kind] / "half.nii.gz", np.array([[[-1, 1, 0, 0]]], np.int16), (10.0, 10.0, 10.0))

    with pytest.raises(UserError, match=r"half\.nii\.gz holds the value -1 in 1 voxels"):
        evaluate_folders(*folders, MetricSettings("autopet"))


def test_each_folder_is_read_by_its_own_description(half_judged, tmp_path, write):
    """The model tells two classes apart, the references know one and an ignore label: both use the value 2."""
    describe(tmp_path / "dataset", WITH_IGNORE)
    describe(half_judged[1], {"background": 0, "tumor": 1, "node": 2})
    write(half_judged[1] / "case.nii.gz", bar(2, 1, 0, 1, 0, 0, 0, 2, 1, 2, 1), (10.0, 10.0, 10.0))

    assert evaluate_folders(*half_judged, MetricSettings("autopet")).cases["case"] == pytest.approx(JUDGED["autopet"])


def test_what_counts_as_tumor_without_a_declaration_is_said(folders, write):
    assert "undeclared_values_up_to" not in evaluate_folders(*folders, MetricSettings("autopet")).aggregate

    write(folders[0] / "half.nii.gz", bar(1, 3, 0, 0), (10.0, 10.0, 10.0))

    assert evaluate_folders(*folders, MetricSettings("autopet")).aggregate["undeclared_values_up_to"] == 3


@pytest.fixture
def steps(folders, tmp_path, write):
    """Three steps: nothing, half and all of the one lesion."""
    found = {"step_0": bar(0, 0, 0, 0), "step_1": bar(0, 1, 0, 0), "step_2": bar(1, 1, 0, 0)}
    for step, mask in found.items():
        write(tmp_path / step / "half.nii.gz", mask, (10.0, 10.0, 10.0))
        write(tmp_path / step / "free.nii.gz", bar(0, 0, 0, 0), (10.0, 10.0, 10.0))
    return folders[0], [tmp_path / step for step in found]


def test_one_folder_per_interaction_step(steps):
    evaluation = evaluate_folders(*steps, MetricSettings("autopet5"))

    assert evaluation.cases["half"]["auc_dice"] == pytest.approx(0 / 2 + 2 / 3 + 1 / 2)
    assert evaluation.cases["free"]["auc_dice"] == 2
    assert evaluation.aggregate["num_steps"] == 3
    assert evaluation.aggregate["auc_dmm"]["undefined"] == 1


def test_a_case_that_lacks_one_step_is_named_or_counts_as_empty_there(steps):
    references, folders = steps
    (folders[1] / "half.nii.gz").unlink()

    with pytest.raises(UserError, match=r"no prediction in .*step_1.*: half\."):
        evaluate_folders(references, folders, MetricSettings("autopet5"))
    evaluation = evaluate_folders(references, folders, MetricSettings("autopet5"), missing="empty")
    assert evaluation.cases["half"]["dice_step_1"] == 0


def test_every_step_leaves_out_what_nobody_judged(half_judged, tmp_path):
    describe(tmp_path / "dataset", WITH_IGNORE)

    case = evaluate_folders(half_judged[0], [half_judged[1]] * 2, MetricSettings("autopet4")).cases["case"]

    assert case["dice_step_0"] == case["dice_step_1"] == pytest.approx(4 / 6)


@pytest.mark.parametrize(
    ("protocol", "count", "words"),
    [("autopet4", 1, "name their folders in order, -p STEP_0 STEP_1"), ("autopet", 2, "takes one folder .*, not 2")],
)
def test_the_number_of_folders_fits_the_metrics(folders, protocol, count, words):
    with pytest.raises(UserError, match=words):
        evaluate_folders(folders[0], [folders[1]] * count, MetricSettings(protocol))


def test_pet_and_organs_are_demanded_and_refused_by_name(folders, tmp_path):
    with pytest.raises(UserError, match=r"deeppsma measures uptake: .* --suv"):
        evaluate_folders(*folders, MetricSettings("deeppsma"))
    with pytest.raises(UserError, match="--organs decides nothing for autopet"):
        evaluate_folders(*folders, MetricSettings("autopet"), organ_dir=tmp_path)
    with pytest.raises(UserError, match="elks cannot be read"):
        evaluate_folders(*folders, MetricSettings("clinical", organ_labels="elks"), organ_dir=tmp_path)


def test_hecktor25_resamples_nothing(tmp_path, write):
    write(tmp_path / "a" / "case.nii.gz", bar(1, 1, 2, 0), (1.0, 1.0, 1.0))
    write(tmp_path / "b" / "case.nii.gz", bar(1, 1, 2), (1.0, 1.0, 1.0))

    evaluate_folders(tmp_path / "a", tmp_path / "b", MetricSettings("hecktor22"))
    with pytest.raises(UserError, match="is not on the grid"):
        evaluate_folders(tmp_path / "a", tmp_path / "b", MetricSettings("hecktor25"))


def test_clinical_measures_with_pet_and_organs(folders, tmp_path, write):
    organs, suv = bar(5, 1, 1, 200), np.array([[[3.0, 5.0, 1.0, 2.0]]], np.float32)
    for case in ("free", "half"):
        write(tmp_path / "organs" / f"{case}.nii.gz", organs, (10.0, 10.0, 10.0))
        write(tmp_path / "suv" / f"{case}.nii.gz", suv, (10.0, 10.0, 10.0))

    evaluation = evaluate_folders(
        *folders, MetricSettings("clinical"), pet_dir=tmp_path / "suv", organ_dir=tmp_path / "organs"
    )

    half, free = evaluation.cases["half"], evaluation.cases["free"]
    assert (half["organ_ml_liver_reference"], half["organ_ml_spleen_reference"]) == (1, 1)
    assert (half["organ_ml_spleen_prediction"], half["organ_ml_elsewhere_prediction"]) == (1, 1)
    assert free["organ_ml_spleen_reference"] == 0
    assert math.isnan(half["tmtv_ml_percist_liver_reference"])  # all of the liver is tumor
    assert free["tmtv_ml_percist_liver_reference"] == 0
    assert half["tmtv_ml_suv_4_reference"] == 1
    assert evaluation.aggregate["patients"] == {"sensitivity": 1, "specificity": 1}


def test_organ_maps_may_lie_on_another_grid(folders, tmp_path, write):
    for case in ("free", "half"):
        write(tmp_path / "organs" / f"{case}.nii.gz", np.repeat(bar(1, 5, 5, 5), 2, axis=2), (5.0, 10.0, 10.0), -2.5)

    settings = MetricSettings("clinical")
    half = evaluate_folders(*folders, settings, organ_dir=tmp_path / "organs").cases["half"]

    assert (half["organ_ml_spleen_reference"], half["organ_ml_liver_reference"]) == (1, 1)


def test_a_missing_organ_map_is_named(folders, tmp_path, write):
    write(tmp_path / "organs" / "half.nii.gz", bar(1, 5, 5, 5), (10.0, 10.0, 10.0))

    with pytest.raises(UserError, match="lacks the organ map of free"):
        evaluate_folders(*folders, MetricSettings("clinical"), organ_dir=tmp_path / "organs")


@pytest.mark.parametrize("protocol", ["autopet", "lesion", "clinical", "deeppsma"])
def test_cropping_changes_no_value(tmp_path, protocol):
    """What lies far from both masks is not looked at; SUVpeak's sphere reaches beyond them."""
    rng = np.random.default_rng(0)
    reference, prediction = np.zeros((2, 20, 30, 40), np.uint8)
    reference[8:11, 9:13, 20:25], prediction[9:12, 10:14, 21:24] = 1, 1
    suv = rng.uniform(0, 10, reference.shape)
    arrays = CaseArrays(reference, (prediction,), (3.0, 2.0, 2.0), suv)

    whole, cropped = (find_protocol(protocol).measure(a, MetricSettings(protocol)) for a in (arrays, arrays.cropped()))

    assert arrays.cropped().reference.size < reference.size
    assert cropped == pytest.approx(whole, nan_ok=True)
