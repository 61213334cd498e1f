"""A killed training goes on with --c as if nothing had happened; --val, --npz, --val_best, --disable_checkpointing."""

import os
import shutil
import signal
import subprocess
import sysconfig
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.integration.nnunet_workspace import SHORT
from tests.integration.tiny_datasets import read_probabilities
from tests.synthetic import read_array

INTERRUPTIBLE = "nnUNetTrainerH2ASegInterruptible"
SECONDS_TO_WAIT = 300


def train_until_killed(workspace, command: str, wait_at: str, waiting: Path, **variables: str) -> None:
    """Runs nnUNetv2_train as a process of its own, with its children a group, and kills them where it waits."""
    name, *options = command.split()
    environment = os.environ | workspace.variables | {"nnUNet_n_proc_DA": "0"} | variables
    environment |= {"WAIT_AT": wait_at, "WAITING": str(waiting)}
    executable = Path(sysconfig.get_path("scripts")) / name
    with (waiting.parent / "output.txt").open("w") as output:
        process = subprocess.Popen(
            [executable, *options], env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            end = time.monotonic() + SECONDS_TO_WAIT
            while not waiting.exists() and process.poll() is None and time.monotonic() < end:
                time.sleep(0.05)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, (waiting.parent / "output.txt").read_text()
    assert waiting.exists(), (waiting.parent / "output.txt").read_text()


def final_checkpoint(fold: Path) -> dict:
    return torch.load(fold / "checkpoint_final.pth", weights_only=False)


def labels(fold: Path) -> dict[str, np.ndarray]:
    files = (fold / "validation").glob("*.nii.gz")
    return {file.name.removesuffix(".nii.gz"): read_array(file) for file in files}


@pytest.mark.parametrize(
    "wait_at",
    [
        "epoch 2",
        "checkpoint_latest.pth of epoch 2",
        pytest.param("checkpoint_best.pth of epoch 0", marks=pytest.mark.slow),
        pytest.param("checkpoint_final.pth of epoch 3", marks=pytest.mark.slow),
    ],
)
def test_a_killed_training_ends_with_the_weights_of_one_that_was_not(workspace, tmp_path, wait_at):
    dataset = workspace.trained("classes", trainer=INTERRUPTIBLE)
    results = {"nnUNet_results": str(tmp_path / "results")}
    expected_fold = dataset.model(trainer=INTERRUPTIBLE) / "fold_0"
    fold = tmp_path / "results" / expected_fold.relative_to(workspace.folder / "nnUNet_results")
    train = f"nnUNetv2_train {dataset.id} 3d_fullres 0 -tr {INTERRUPTIBLE} -device cpu --npz"

    train_until_killed(workspace, train, wait_at, tmp_path / "waiting", **results)
    whole = [torch.load(file, weights_only=False) for file in fold.glob("checkpoint_*.pth")]
    assert not (fold / "checkpoint_final.pth").exists()
    workspace.run(f"{train} --c", **results)

    assert all(checkpoint["current_epoch"] <= 3 for checkpoint in whole)
    checkpoint, expected = final_checkpoint(fold), final_checkpoint(expected_fold)
    assert checkpoint["current_epoch"] == expected["current_epoch"] == 4
    assert checkpoint["logging"]["train_losses"] == expected["logging"]["train_losses"]
    for name, weight in expected["network_weights"].items():
        assert torch.equal(checkpoint["network_weights"][name], weight), name
    probabilities, expected_probabilities = (read_probabilities(path / "validation") for path in (fold, expected_fold))
    assert probabilities.keys() == expected_probabilities.keys()
    for case, probability in probabilities.items():
        np.testing.assert_array_equal(probability, expected_probabilities[case])
    assert sorted(file.name for file in fold.glob("*checkpoint*")) == ["checkpoint_best.pth", "checkpoint_final.pth"]
    predict = f"nnUNetv2_predict -d {dataset.id} -c 3d_fullres -f 0 -tr {INTERRUPTIBLE} -device cpu -npp 1 -nps 1"
    images = workspace.images(dataset, list(probabilities), tmp_path / "images")
    workspace.run(predict, "-i", images, "-o", tmp_path / "predicted", **results)
    for case in probabilities:
        np.testing.assert_array_equal(read_array(tmp_path / "predicted" / f"{case}.nii.gz"), labels(fold)[case])


@pytest.fixture
def copied(workspace, tmp_path):
    """A trained fold of its own, which a test may spoil, and how to run nnUNetv2_train on it."""
    dataset = workspace.trained("classes")
    source = workspace.folder / "nnUNet_results"
    shutil.copytree(dataset.results, tmp_path / dataset.results.relative_to(source))

    def train(options: str) -> None:
        command = f"nnUNetv2_train {dataset.id} 3d_fullres 0 -tr {SHORT} -device cpu {options}"
        workspace.run(command, nnUNet_results=str(tmp_path))

    return tmp_path / dataset.model().relative_to(source) / "fold_0", train


def test_a_finished_training_that_is_continued_stays_as_it_is(copied):
    fold, train = copied
    before = final_checkpoint(fold)

    train("--c")

    after = final_checkpoint(fold)
    assert after["current_epoch"] == before["current_epoch"]
    assert all(
        torch.equal(after["network_weights"][name], weight) for name, weight in before["network_weights"].items()
    )


def test_validation_alone_repeats_the_validation_and_trains_nothing(copied):
    fold, train = copied
    checkpoint, before = (fold / "checkpoint_final.pth").read_bytes(), labels(fold)
    shutil.rmtree(fold / "validation")

    train("--val")

    assert before
    np.testing.assert_equal(labels(fold), before)
    assert not list((fold / "validation").glob("*.npz"))
    assert (fold / "checkpoint_final.pth").read_bytes() == checkpoint


def test_validation_with_npz_writes_the_probabilities_of_its_labels(copied):
    fold, train = copied
    shutil.rmtree(fold / "validation")

    train("--val --npz")

    probabilities = read_probabilities(fold / "validation")
    assert probabilities.keys() == labels(fold).keys()
    for case, probability in probabilities.items():
        np.testing.assert_allclose(probability.sum(0), 1, atol=1e-3)
        np.testing.assert_array_equal(probability.argmax(0), labels(fold)[case])


def test_validation_with_the_best_checkpoint_reads_that_one(copied):
    fold, train = copied
    best = torch.load(fold / "checkpoint_best.pth", weights_only=False)
    head = max(name for name in best["network_weights"] if name.endswith("conv.bias") and ".seg_layers." in name)
    best["network_weights"][head][:] = torch.tensor([0.0, 0.0, 1000.0])  # everything is class 2
    torch.save(best, fold / "checkpoint_best.pth")

    train("--val --val_best")
    of_best = labels(fold)
    train("--val")

    assert all((volume == 2).all() for volume in of_best.values())
    assert not any((volume == 2).all() for volume in labels(fold).values())


def test_without_checkpointing_a_training_is_validated_and_nothing_is_written(workspace, tmp_path):
    dataset = workspace.dataset("classes")

    workspace.run(
        f"nnUNetv2_train {dataset.id} 3d_fullres 0 -tr {SHORT} -device cpu --disable_checkpointing",
        nnUNet_results=str(tmp_path),
    )

    assert len(list(tmp_path.glob("**/validation/summary.json"))) == 1
    assert not [file for file in tmp_path.rglob("*") if "checkpoint" in file.name or file.suffix == ".pth"]
