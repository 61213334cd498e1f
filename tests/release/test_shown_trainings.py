"""The pages with commands of nnU-Net: every command runs as shown, in order, on a few tiny phantoms.

`SHORTER`, `HERE` and `BEFORE` are all that differs from what a reader does. Processes that commands would start run
inside this one, which saves the imports of each.
"""

import contextlib
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

import pytest
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from h2aseg_nnunet.cli import main
from h2aseg_nnunet.petct import execute
from h2aseg_nnunet.petct.cluster.slurm import SlurmQueue
from h2aseg_nnunet.petct.compare import run as compare
from h2aseg_nnunet.petct.tune import run as tune
from tests.integration import test_shown_commands as shown
from tests.integration import tiny_datasets
from tests.integration.nnunet_workspace import Workspace
from tests.integration.tiny_datasets import NUM_CASES, Dataset, write_raw_dataset
from tests.locations import REPOSITORY
from tests.shown import commands, lines_to_run
from tests.synthetic import write_phantom

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # nnU-Net and its libraries warn of much

SHORTER = {"num_epochs": 1, "num_iterations_per_epoch": 1, "num_val_iterations_per_epoch": 1}
"""Of every trainer."""

CPU, ONE_EACH = ["-device", "cpu"], ["-npp", "1", "-nps", "1"]
ONE_RUN, ONE_STEP = ["--folds", "0", "--seeds", "0"], ["--epochs", "1", "--iterations", "1", "--val-iterations", "1"]
HERE = {
    **shown.ON_THIS_MACHINE,
    "compare": [*CPU, *ONE_RUN, *ONE_STEP, *shown.ONE_PROCESS],
    "dask scheduler": ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"],
    "dask worker": ["--nworkers", "1", "--no-dashboard"],
    "nnUNetv2_extract_fingerprint": ["-np", "1"],
    "nnUNetv2_plan_and_preprocess": ["-npfp", "1", "-np", "1", "-c", "3d_fullres"],
    "nnUNetv2_predict": [*CPU, *ONE_EACH, "--disable_tta"],
    "nnUNetv2_predict_from_modelfolder": [*CPU, *ONE_EACH, "--disable_tta"],
    "nnUNetv2_preprocess": ["-np", "1"],
    "nnUNetv2_train": CPU,
    **dict.fromkeys(("plan", "postprocess", "tune"), shown.ONE_PROCESS),
    "train-folds": CPU,
}
"""What is added to a command; an option that is named twice has its last value."""

PLAN = "nnUNetv2_plan_and_preprocess -d"
TRAIN = "nnUNetv2_train 221 3d_fullres {} -tr nnUNetTrainerH2ASeg"
BEFORE = {
    "docs/cluster.md": [f"{PLAN} 221"],
    "docs/compare.md": [f"{PLAN} 221", f"{PLAN} 221 -pl nnUNetPlannerResEncM"],
    "docs/trainers.md": [f"{PLAN} 901"],
    "docs/tune.md": [f"{PLAN} 221", *(TRAIN.format(fold) + " --npz" for fold in range(NUM_CASES))],
}
"""What a page takes for done."""

RAW = {"docs/accuracy.md": "Dataset701_STS"} | dict.fromkeys(("README.md", "docs/trainers.md"), "Dataset901_tumors")
"""The raw dataset that a page begins with; the others begin with 221."""


@pytest.fixture
def world(tmp_path, monkeypatch) -> Iterator[Workspace]:
    """nnU-Net's folders with five patients, beside what the pages name otherwise."""
    workspace = Workspace(tmp_path)
    workspace.trainers = REPOSITORY / "studies" / "trainers"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAW", "demo")
    monkeypatch.setattr(shown, "PATIENTS", tuple("abcde"))
    monkeypatch.setattr(tiny_datasets, "SPACING_MM", 6.0)  # of docs/accuracy.md: the U-Net needs three stages
    shown.write_images_and_masks(tmp_path)
    shown.write_collections(tmp_path)
    shown.write_models(tmp_path)
    shown.write_export(tmp_path)
    for name, target in {"MODEL": "MODEL_FOLDER", "VALIDATION_IMAGES": "imagesTs", "labelsTr": "labelsTs"}.items():
        (tmp_path / name).symlink_to(target)
    shutil.copy("labelsTs/case.nii.gz", "LABELS")
    Path("studies/results").mkdir(parents=True)
    monkeypatch.setattr(tune, "LEAST_PATIENTS", NUM_CASES)
    for where in (execute, compare):
        monkeypatch.setattr(where, "execute_all", lambda *tasks: carry_out(workspace, *tasks))
    monkeypatch.setattr(SlurmQueue, "execute_all", lambda queue, *tasks: carry_out(workspace, *tasks))
    initialize = nnUNetTrainer.initialize
    monkeypatch.setattr(
        nnUNetTrainer, "initialize", lambda trainer: [vars(trainer).update(SHORTER), initialize(trainer)]
    )
    with workspace.environment(nnUNet_n_proc_DA="0", nnUNet_def_n_proc="1"):
        yield workspace


def carry_out(workspace: Workspace, tasks: Sequence[execute.Task], *_: object) -> list:
    """In place of processes or jobs."""
    for task in tasks:
        program, *words = task.process()
        if words[0] == "-m":
            with mock.patch.object(sys, "argv", words[1:]), mock.patch.dict(os.environ, execute.environment(task)):
                runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            workspace.run(Path(program).name, *words)
    return []


@pytest.fixture
def daemons(tmp_path) -> Iterator[list[subprocess.Popen]]:
    """Schedulers and workers of Dask that a page has started."""
    started: list[subprocess.Popen] = []
    yield started
    end(started)


def end(started: list[subprocess.Popen]) -> None:
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    started.clear()


def start(words: list[str], started: list[subprocess.Popen]) -> None:
    """Start a scheduler, in place of an earlier one, or a worker."""
    file = Path(words[words.index("--scheduler-file") + 1])
    if words[1] == "scheduler":
        end(started)
        file.unlink(missing_ok=True)
    variables = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with Path("dask.log").open("ab") as log:
        program = Path(sys.executable).with_name("dask")
        output = {"stdout": log, "stderr": log}
        started.append(subprocess.Popen([program, *words[1:]], env=variables, start_new_session=True, **output))
    while not file.is_file():
        assert started[-1].poll() is None, Path("dask.log").read_text()
        time.sleep(0.1)


def prepare(page: str, words: list[str], workspace: Workspace) -> None:
    """What a reader has at hand, or puts in place of a name in capitals."""
    if words[0] == "nnUNetv2_predict" and not (images := Path(words[words.index("-i") + 1])).exists():
        write_phantom(images)
    if page == "docs/tune.md" and words[1] == "postprocess":
        shutil.rmtree("MODEL_FOLDER")
        (tuned,) = (workspace.folder / "nnUNet_results" / "Dataset221_AutoPETII").iterdir()
        Path("MODEL_FOLDER").symlink_to(tuned)
    if "--cases-per-job" in words:
        shutil.rmtree("segmented")  # of the same command on Dask, which leaves nothing to do
    if "exported/NAME.zip" in words:
        (zipped,) = Path("exported").glob("*.zip")
        zipped.rename("exported/NAME.zip")
    words[:] = [{"DATASET": "901"}.get(word, word) for word in words]
    if words[0] == "h2aseg":
        shown.prepare(words[1:], workspace.folder)


@pytest.mark.parametrize("page", sorted(shown.TRAIN))
def test_the_commands_of_a_page_run_as_shown(world, daemons, page, capsys):
    name = RAW.get(page, "Dataset221_AutoPETII")
    shutil.rmtree(world.folder / "nnUNet_raw" / name, ignore_errors=True)
    write_raw_dataset(Dataset(raw=world.folder / "nnUNet_raw" / name, id=name[7:10], scheme="binary"))
    for line in BEFORE.get(page, []):
        world.run(line, *HERE[line.split()[0]])

    run = commands(lines_to_run(page), world.folder, os.environ)

    assert any(words[0].startswith("nnUNetv2_") or words[1] == "compare" for words in run)
    for words in run:
        prepare(page, words, world)
        carry_out_shown(words, world, daemons)
        assert f"h2aseg {words[1]}: " not in capsys.readouterr().err, words


def carry_out_shown(words: list[str], workspace: Workspace, daemons: list[subprocess.Popen]) -> None:
    program, *rest = words
    if program == "h2aseg":
        code = main([*rest, *HERE.get(rest[0], [])])
        assert code == 0 or rest[0] == "check", words  # which may find faults in noise
    elif program.startswith("nnUNetv2_"):
        workspace.run(program, *rest, *HERE.get(program, []))
    elif program == "dask":
        start([*words, *HERE[f"dask {rest[0]}"]], daemons)
    elif program == "cp":
        shutil.copy(*rest)
    else:
        assert program == "python", f"{program}: neither run here nor listed in tests/shown.py"
        subprocess.run([sys.executable, *rest], check=True, env=os.environ | {"PYTHONPATH": str(REPOSITORY)})
