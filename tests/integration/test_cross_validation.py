"""Cross-validation, the best configuration, ensembles, postprocessing and evaluation, all by nnU-Net's commands."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from batchgenerators.utilities.file_and_folder_operations import load_pickle
from nnunetv2.evaluation.find_best_configuration import find_best_configuration
from nnunetv2.postprocessing.remove_connected_components import apply_postprocessing
from scipy import ndimage

from tests.integration.nnunet_workspace import SHORT, STOCK_SHORT
from tests.integration.tiny_datasets import SPACING_MM, read_probabilities
from tests.synthetic import read_array, write_image

MEMBERS = [("2d", SHORT), ("3d_fullres", SHORT), ("2d", STOCK_SHORT)]
LARGE_PLANS = "nnUNetPlansLarge"


def dice(prediction: np.ndarray, reference: np.ndarray) -> float:
    return 2 * ((prediction > 0) & (reference > 0)).sum() / ((prediction > 0).sum() + (reference > 0).sum())


def mean_dice(folder: Path, dataset, cases: list[str]) -> float:
    scores = [
        dice(*(read_array(place / f"{case}.nii.gz") for place in (folder, dataset.raw / "labelsTr"))) for case in cases
    ]
    return float(np.mean(scores))


def validation_probabilities(model: Path, folds) -> dict[str, np.ndarray]:
    parts = [read_probabilities(model / f"fold_{fold}" / "validation") for fold in folds]
    return {case: probabilities for part in parts for case, probabilities in part.items()}


def follow(workspace, instructions: Path, images: Path, folder: Path) -> Path:
    """Runs the commands that nnUNetv2_find_best_configuration wrote down; returns the folder of final labels."""
    commands = [line for line in instructions.read_text().splitlines() if line.startswith("nnUNetv2_")]
    for command in commands:
        command = command.replace("INPUT_FOLDER", str(images)).replace("OUTPUT_FOLDER", str(folder / "OUTPUT_FOLDER"))
        workspace.run(command + (" -device cpu" if command.startswith("nnUNetv2_predict") else ""))
    return folder / "OUTPUT_FOLDER_PP"


def check_best_configuration(workspace, dataset, best: dict, images: Path, folder: Path) -> None:
    """Recomputes from the members' probabilities what nnU-Net reports, and follows its instructions."""
    folds, chosen = best["folds"], best["best_model_or_ensemble"]
    models = {path.name: path for path in dataset.results.iterdir() if path.name in best["all_results"]}
    probabilities = {name: validation_probabilities(model, folds) for name, model in models.items()}
    (cases,) = {tuple(sorted(found)) for found in probabilities.values()}

    for name, reported in best["all_results"].items():
        is_ensemble = name.startswith("ensemble___")
        members = name.split("___")[1:3] if is_ensemble else [name]
        results = (
            dataset.results / "ensembles" / name
            if is_ensemble
            else models[name] / f"crossval_results_folds_{'_'.join(map(str, folds))}"
        )
        for case in cases:
            mean = np.mean([probabilities[member][case] for member in members], 0)
            np.testing.assert_array_equal(read_array(results / f"{case}.nii.gz"), mean.argmax(0))
        assert reported == pytest.approx(mean_dice(results, dataset, cases))
    assert chosen["result_on_crossval_pre_pp"] == max(best["all_results"].values())

    final = follow(workspace, dataset.results / "inference_instructions.txt", images, folder)
    functions, options = load_pickle(chosen["postprocessing_file"])
    selected = [
        workspace.predict(
            dataset,
            images,
            folder / f"member_{index}",
            configuration=model["configuration"],
            folds=" ".join(map(str, folds)),
            trainer=model["trainer"],
            plans=model["plans_identifier"],
        )
        for index, model in enumerate(chosen["selected_model_or_models"])
    ]
    for case in selected[0]:
        labels = np.mean([member[case] for member in selected], 0).argmax(0)
        expected = apply_postprocessing(labels, functions, options)
        np.testing.assert_array_equal(read_array(final / f"{case}.nii.gz"), expected)


def test_the_best_configuration_and_its_instructions_with_a_stock_member(workspace, tmp_path):
    for configuration, trainer in MEMBERS:
        for fold in (0, 1):
            dataset = workspace.trained("binary", configuration, fold, trainer)
    images = workspace.images(dataset, dataset.cases[:2], tmp_path / "images")
    models = [{"plans": "nnUNetPlans", "configuration": c, "trainer": t} for c, t in MEMBERS]

    with workspace.environment():
        best = find_best_configuration(dataset.name, models, folds=(0, 1), num_processes=1)

    assert len(best["all_results"]) == 6  # three models and three pairs
    check_best_configuration(workspace, dataset, best, images, tmp_path)


@pytest.mark.slow
def test_five_folds_of_two_configurations_beside_the_stock_trainer(workspace, tmp_path):
    """With patches that hold the whole tiny image, for the stock loss is undefined where a plan has two stages."""
    dataset = workspace.dataset("binary")
    workspace.run(f"nnUNetv2_plan_experiment -d {dataset.id} -overwrite_plans_name {LARGE_PLANS}")
    workspace.run(f"nnUNetv2_preprocess -d {dataset.id} -plans_name {LARGE_PLANS} -c 2d 3d_fullres -np 1 --no_pbar")
    for configuration in ("2d", "3d_fullres"):
        for trainer in (SHORT, STOCK_SHORT):
            for fold in range(5):
                workspace.trained("binary", configuration, fold, trainer, LARGE_PLANS)
    splits = json.loads((dataset.preprocessed / "splits_final.json").read_text())
    assert sorted(case for split in splits for case in split["val"]) == dataset.cases
    images = workspace.images(dataset, dataset.cases[:2], tmp_path / "images")

    workspace.run(
        f"nnUNetv2_find_best_configuration {dataset.id} -p {LARGE_PLANS} -c 2d 3d_fullres "
        f"-tr {SHORT} {STOCK_SHORT} -np 1"
    )

    best = json.loads((dataset.results / "inference_information.json").read_text())
    assert len(best["all_results"]) == 10  # four models and six pairs
    check_best_configuration(workspace, dataset, best, images, tmp_path)


@pytest.mark.parametrize("scheme", ["binary", "regions"])
def test_an_ensembles_probabilities_are_the_mean_of_its_members(workspace, tmp_path, scheme):
    dataset = workspace.trained(scheme)
    images = workspace.images(dataset, dataset.cases[:2], tmp_path / "images")
    first = workspace.predict(dataset, images, tmp_path / "first")
    second = workspace.predict(dataset, images, tmp_path / "second", options="--disable_tta")

    workspace.run(
        "nnUNetv2_ensemble --save_npz -np 1",
        *("-i", tmp_path / "first", tmp_path / "second", "-o", tmp_path / "ensemble"),
    )

    ensemble = read_probabilities(tmp_path / "ensemble")
    assert list(ensemble) == dataset.cases[:2]
    for case, probabilities in ensemble.items():
        assert np.abs(first[case] - second[case]).max() > 1e-3
        mean = (first[case] + second[case]) / 2
        np.testing.assert_allclose(probabilities, mean, rtol=1e-6)
        labels = read_array(tmp_path / "ensemble" / f"{case}.nii.gz")
        if scheme == "binary":
            np.testing.assert_array_equal(labels, mean.argmax(0))
        else:
            np.testing.assert_array_equal(labels, np.where(mean[1] > 0.5, 2, mean[0] > 0.5))


def test_postprocessing_is_determined_and_applied(workspace, tmp_path):
    """Reference labels with a speck in every case: removing all but the largest component mends them."""
    dataset = workspace.trained("binary")
    predictions, case = tmp_path / "predictions", dataset.cases[0]
    for name in dataset.cases:
        labels = read_array(dataset.raw / "labelsTr" / f"{name}.nii.gz")
        labels[0, 0, :3] = 1
        write_image(predictions / f"{name}.nii.gz", labels, 5.0 if name == "case_1" else SPACING_MM)
    for file in ("plans.json", "dataset.json"):
        shutil.copy(dataset.model() / file, predictions)
    images = workspace.images(dataset, [case], tmp_path / "images")
    workspace.predict(dataset, images, tmp_path / "predicted")

    workspace.run("nnUNetv2_determine_postprocessing -np 1", "-i", predictions, "-ref", dataset.raw / "labelsTr")
    workspace.run(
        "nnUNetv2_apply_postprocessing -np 1",
        *("-i", tmp_path / "predicted", "-o", tmp_path / "postprocessed"),
        *("-pp_pkl_file", predictions / "postprocessing.pkl"),
    )

    before, after = (read_array(tmp_path / name / f"{case}.nii.gz") for name in ("predicted", "postprocessed"))
    components, count = ndimage.label(before, structure=np.ones((3, 3, 3)))  # corners connect, as in nnU-Net
    sizes = ndimage.sum_labels(before, components, range(1, count + 1))
    assert count > 1
    np.testing.assert_array_equal(after, components == 1 + np.argmax(sizes))


def test_evaluation_of_a_folder_gives_the_dice_of_each_case(workspace, tmp_path):
    dataset = workspace.trained("binary")
    images = workspace.images(dataset, dataset.cases[:2], tmp_path / "images")
    workspace.predict(dataset, images, tmp_path / "predicted")

    workspace.run(
        "nnUNetv2_evaluate_folder --chill -np 1",
        *(dataset.raw / "labelsTr", tmp_path / "predicted"),
        *("-djfile", dataset.raw / "dataset.json", "-pfile", dataset.model() / "plans.json"),
    )

    summary = json.loads((tmp_path / "predicted" / "summary.json").read_text())
    assert len(summary["metric_per_case"]) == 2
    for case in summary["metric_per_case"]:
        expected = dice(read_array(case["prediction_file"]), read_array(case["reference_file"]))
        assert case["metrics"]["1"]["Dice"] == pytest.approx(expected)
    assert summary["foreground_mean"]["Dice"] == pytest.approx(
        mean_dice(tmp_path / "predicted", dataset, dataset.cases[:2])
    )
