"""h2aseg compare with a stock trainer and H2ASeg: nnU-Net's own training, on tiny images."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from h2aseg_nnunet import cli
from h2aseg_nnunet.petct.compare.training_runs import Run, make_runs
from h2aseg_nnunet.petct.evaluate.metrics import dice
from tests.synthetic import read_array

PLANS = "nnUNetPlansLarge"  # patches that hold the whole tiny image: the stock loss needs more than two stages
TRAINERS = ("nnUNetTrainer", "nnUNetTrainerH2ASeg")
SCHEDULE = {"epochs": 3, "iterations": 2, "val_iterations": 1}
SECONDS_TO_WAIT = 300

pytestmark = pytest.mark.slow


@pytest.fixture
def dataset(workspace):
    dataset = workspace.dataset("binary")
    workspace.run(f"nnUNetv2_plan_experiment -d {dataset.id} -overwrite_plans_name {PLANS}")
    workspace.run(f"nnUNetv2_preprocess -d {dataset.id} -plans_name {PLANS} -c 3d_fullres -np 1 --no_pbar")
    with workspace.environment(nnUNet_n_proc_DA="1", nnUNet_def_n_proc="1", OMP_NUM_THREADS="1"):
        yield dataset


def compare_until_the_run_is_killed(command: list[str], run: Run, line: str) -> str:
    """Carry out the command, kill the run's process from outside when its log holds the line; return what is said."""
    process = subprocess.Popen(
        [sys.executable, "-m", "h2aseg_nnunet.cli", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + SECONDS_TO_WAIT
    while line not in (run.log.read_text() if run.log.is_file() else ""):
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.02)
    _supervisor, main, *workers = processes_of(run)
    assert workers
    os.kill(main, signal.SIGTERM)
    _, said = process.communicate(timeout=SECONDS_TO_WAIT)
    assert process.returncode == 1
    assert not processes_of(run)
    return said


def processes_of(run: Run) -> list[int]:
    """The supervisor, the run and its forked workers, in the order of their start."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (folder / "cmdline").read_text().split("\0")
        except OSError:  # has ended
            continue
        if run.process()[-1] in arguments:
            found.append(int(folder.name))
    return sorted(found, key=lambda pid: int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]))


def weights(run: Run) -> dict[str, torch.Tensor]:
    return torch.load(run.fold_folder / "checkpoint_final.pth", weights_only=False)["network_weights"]


def test_two_trainers_and_a_killed_run_that_goes_on_as_if_it_had_not_been_killed(dataset, tmp_path, capfd):
    output = tmp_path / "out"
    stock, h2aseg = make_runs(
        *(TRAINERS, PLANS, [0], [3]),
        **{"folder": str(output), "dataset": dataset.name, "configuration": "3d_fullres"},
        **{**SCHEDULE, "device": "cpu", "processes": 1},
    )
    options = "--folds 0 --seeds 3 --epochs 3 --iterations 2 --val-iterations 1 -device cpu -np 1"
    command = ["compare", "-d", dataset.id, "-c", "3d_fullres", "--plans", PLANS, "--trainers", *TRAINERS]
    command += [*options.split(), "-o", str(output)]

    assert cli.main(command) == 0, capfd.readouterr()

    (case,) = json.loads((dataset.preprocessed / "splits_final.json").read_text())[0]["val"]
    reference = read_array(dataset.raw / "labelsTr" / f"{case}.nii.gz")
    expected = [
        dice(reference, read_array(run.fold_folder / "validation" / f"{case}.nii.gz")) for run in (stock, h2aseg)
    ]
    content = json.loads((output / "compare.json").read_text())
    assert [content["trainers"][name]["summary"]["dice"]["mean"] for name in TRAINERS] == pytest.approx(expected)
    assert content["differences"][TRAINERS[1]]["dice"]["mean"] == pytest.approx(expected[1] - expected[0])
    for name, run in zip(TRAINERS, (stock, h2aseg), strict=True):
        costs = content["trainers"][name]["costs"]
        assert costs["parameters"] == num_parameters(weights(run))
        assert 0 < costs["seconds_per_iteration"] < 60
        assert 0 < costs["peak_memory_bytes"] < 2**32

    before, untouched = weights(h2aseg), (stock.fold_folder / "checkpoint_final.pth").stat()
    shutil.rmtree(h2aseg.fold_folder)
    said = compare_until_the_run_is_killed(command, h2aseg, "Epoch 2")
    assert f"{h2aseg.name} failed (killed by SIGTERM)" in said
    assert not (h2aseg.fold_folder / "checkpoint_final.pth").exists()
    assert cli.main(command) == 0, capfd.readouterr()

    after = weights(h2aseg)
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    assert json.loads((output / "compare.json").read_text())["differences"] == content["differences"]
    assert (stock.fold_folder / "checkpoint_final.pth").stat().st_mtime_ns == untouched.st_mtime_ns


def num_parameters(state: dict[str, torch.Tensor]) -> int:
    """Of a state in which nnU-Net's networks have some weights under several names, and ours a flag."""
    return sum({weight.data_ptr(): weight.numel() for weight in state.values() if weight.is_floating_point()}.values())
