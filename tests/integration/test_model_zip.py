"""A trained model travels as nnU-Net's zip file to another machine."""

import os
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.integration.nnunet_workspace import SHORT, Workspace
from tests.integration.tiny_datasets import Dataset, read_probabilities
from tests.release.test_install import OURS, Environment, source  # noqa: F401, `source` is a fixture
from tests.synthetic import read_array

TRAINER = "nnUNetTrainerH2ASegDemo"  # of the plugin itself: no other trainer is on the other machine
COMMAND = """
import sys
from importlib.metadata import entry_points
(entry,) = entry_points(group="console_scripts", name=sys.argv[1])
sys.argv = sys.argv[1:]
entry.load()()
"""


def test_an_installed_zip_predicts_what_the_original_does(workspace, tmp_path):
    dataset = workspace.trained("regions")
    images = workspace.images(dataset, dataset.cases[:2], tmp_path / "images")
    original = workspace.predict(dataset, images, tmp_path / "original")
    other = Workspace(tmp_path / "other_machine")

    model = export(workspace, dataset, SHORT, tmp_path)
    other.run("nnUNetv2_install_pretrained_model_from_zip", model)

    installed = other.locate(dataset.id, dataset.scheme)
    there = other.predict(installed, images, tmp_path / "there")
    assert list(there) == list(original) == dataset.cases[:2]
    for case in original:
        np.testing.assert_array_equal(there[case], original[case])


def export(workspace: Workspace, dataset: Dataset, trainer: str, folder: Path) -> Path:
    file = folder / "model.zip"
    workspace.run(f"nnUNetv2_export_model_to_zip -d {dataset.id} -c 3d_fullres -tr {trainer} -f 0", "-o", file)
    return file


def test_the_zip_holds_the_checkpoint_of_the_fold_and_what_it_needs(workspace, tmp_path):
    dataset = workspace.trained("regions")

    model = export(workspace, dataset, SHORT, tmp_path)

    prefix = f"{dataset.name}/{dataset.model().name}/"
    with zipfile.ZipFile(model) as archive:
        names = {name.removeprefix(prefix) for name in archive.namelist()}
    assert {"plans.json", "dataset.json", "dataset_fingerprint.json", "fold_0/checkpoint_final.pth"} <= names


def nnunet(environment: Environment, results, command: str, *paths) -> subprocess.CompletedProcess:
    """Runs an nnU-Net command in another environment, with nothing set but nnUNet_results."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("nnUNet", "PYTHON"))}
    return subprocess.run(
        [environment.executable, "-c", COMMAND, *command.split(), *map(str, paths)],
        cwd=environment.elsewhere,
        env=variables | {"nnUNet_results": str(results)},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_a_machine_with_nothing_but_the_plugin_predicts_and_one_without_says_so(workspace, source, tmp_path):  # noqa: F811
    dataset = workspace.trained("regions", trainer=TRAINER)
    images = workspace.images(dataset, dataset.cases[:2], tmp_path / "images")
    original = workspace.predict(dataset, images, tmp_path / "original", trainer=TRAINER)
    model = export(workspace, dataset, TRAINER, tmp_path)
    environment = Environment(tmp_path / "environment", without=OURS)
    results = tmp_path / "results"
    results.mkdir()
    predict = (
        f"nnUNetv2_predict -d {dataset.id} -c 3d_fullres -f 0 -tr {TRAINER} -device cpu -npp 1 -nps 1 "
        "--save_probabilities"
    )

    installed = nnunet(environment, results, "nnUNetv2_install_pretrained_model_from_zip", model)
    without = nnunet(environment, results, predict, "-i", images, "-o", tmp_path / "without")
    environment.install(source)
    with_plugin = nnunet(environment, results, predict, "-i", images, "-o", tmp_path / "with")

    assert installed.returncode == 0, installed.stderr
    assert without.returncode != 0
    assert f"Could not find requested nnunet trainer {TRAINER}" in without.stderr
    assert not list((tmp_path / "without").glob("*.nii.gz"))
    assert with_plugin.returncode == 0, with_plugin.stderr
    probabilities = read_probabilities(tmp_path / "with")
    assert list(probabilities) == list(original) == dataset.cases[:2]
    for case in original:
        np.testing.assert_allclose(probabilities[case], original[case], atol=1e-3)  # threads add up in another order
        decided = (np.abs(original[case] - 0.5) > 1e-3).all(0)
        here, there = (read_array(tmp_path / name / f"{case}.nii.gz") for name in ("original", "with"))
        np.testing.assert_array_equal(there[decided], here[decided])
