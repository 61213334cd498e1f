"""Processes that stand for runs: here they are one line of Python each."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from h2aseg_nnunet import cli
from h2aseg_nnunet.petct.compare import run as compare
from h2aseg_nnunet.petct.compare.training_runs import Run
from h2aseg_nnunet.petct.execute import execute_all
from h2aseg_nnunet.petct.files import exclusively
from h2aseg_nnunet.petct.nnunet import folders
from tests.locations import REPOSITORY
from tests.unit.petct.compare.conftest import DATASET

WORKER_SECONDS = 40


def processes(monkeypatch, code: str) -> None:
    arguments = Run.process
    monkeypatch.setattr(Run, "process", lambda run: [sys.executable, "-c", code, arguments(run)[-1]])


@pytest.fixture(name="dataset")
def stand_in_dataset(monkeypatch, tmp_path):
    """Everything is there, as far as the command looks."""
    splits = [{"train": [], "val": [f"case_{fold}"]} for fold in range(5)]
    monkeypatch.setattr(compare, "check_runs", lambda runs: splits)
    monkeypatch.setattr(folders, "dataset_name", lambda name: DATASET)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))
    return tmp_path / "out"


def command(output, *more: str) -> list[str]:
    schedule = ["--epochs", "2", "--iterations", "3", "--val-iterations", "1", "-np", "1", "-device", "cpu"]
    return ["compare", "-d", "901", "-c", "3d_fullres", *schedule, "-o", str(output), *more]


def test_output_goes_to_the_log_and_results_into_the_folder(runs, monkeypatch):
    (run,) = runs(("A",), folds=(0,))
    processes(monkeypatch, "import os; print(os.environ['nnUNet_results']); print('Epoch 0')")

    assert execute_all([run]) == []
    assert run.log.read_text().splitlines() == [str(run.results), "Epoch 0"]


def test_a_failing_run_is_named_with_its_log_and_the_others_go_on(runs, monkeypatch, capsys):
    made = runs(("A", "B"), folds=(0,))
    processes(monkeypatch, "import sys; print('last words'); sys.exit('\"trainer\": \"A\"' in sys.argv[1])")

    (failure,) = execute_all(made)

    assert failure.task == made[0]
    assert "A:nnUNetPlans fold 0 seed 0 failed (exit code 1): last words" in capsys.readouterr().err
    assert str(made[0].log) in str(failure)
    assert made[1].log.is_file()


def test_a_killed_run_has_failed_its_workers_end_and_the_next_one_starts(runs, monkeypatch, capsys):
    """nnU-Net's workers outlive a run that is killed from outside, and hold its output open."""
    killed, other = made = runs(("A", "B"), folds=(0,))
    worker = f"worker = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep({WORKER_SECONDS})'])"
    killed_by_the_kernel = "os.kill(os.getpid(), signal.SIGKILL)"
    processes(
        monkeypatch,
        f"import os, signal, subprocess, sys\n{worker}\nprint(worker.pid, flush=True)\n"
        f'if \'"trainer": "A"\' in sys.argv[1]: {killed_by_the_kernel}\nworker.kill()',
    )
    start = time.monotonic()

    (failure,) = execute_all(made)

    assert time.monotonic() - start < WORKER_SECONDS / 2
    assert failure.task == killed
    assert "A:nnUNetPlans fold 0 seed 0 failed (killed by SIGKILL, " in capsys.readouterr().err
    assert other.log.is_file()
    assert not is_alive(int(killed.log.read_text()))


def is_alive(pid: int) -> bool:
    """Whether a process is there and more than a corpse that nobody has fetched."""
    status = Path(f"/proc/{pid}/status")
    return status.is_file() and "State:\tZ" not in status.read_text()


def test_dry_run_prints_and_runs_nothing(dataset, monkeypatch, capsys):
    processes(monkeypatch, "import sys; sys.exit(1)")

    assert cli.main(command(dataset, "--trainers", "A", "B:Large", "--folds", "0", "1", "--dry-run")) == 0

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("h2aseg compare -d Dataset901_binary ") for line in lines)
    assert not dataset.exists()


def test_one_trainer_is_no_comparison(dataset, capsys):
    assert cli.main(command(dataset, "--trainers", "A")) == 1
    assert "at least two trainers" in capsys.readouterr().err


def test_held_out_images_and_references_go_together(dataset, capsys):
    assert cli.main(command(dataset, "--trainers", "A", "B", "-i", "imagesTs")) == 1
    assert "-i and -r go together" in capsys.readouterr().err


def test_ctrl_c_ends_the_process_too(runs, monkeypatch):
    (run,) = runs(("A",), folds=(0,))
    processes(
        monkeypatch,
        "import time\nprint('Epoch 0', flush=True)\ntry: time.sleep(60)\nexcept KeyboardInterrupt: print('cleaned up')",
    )

    def interrupt():
        while not (run.log.is_file() and run.log.read_text()):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    threading.Thread(target=interrupt).start()
    start = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            execute_all([run])
    finally:
        signal.signal(signal.SIGINT, before)

    assert time.monotonic() - start < 30


def test_a_run_is_carried_out_by_one_process_at_a_time(tmp_path):
    code = (
        "import sys; from pathlib import Path; from h2aseg_nnunet.petct.files import exclusively\n"
        "with exclusively(Path(sys.argv[1])): pass"
    )
    second = [sys.executable, "-c", code, str(tmp_path / "fold_0" / ".lock")]

    with exclusively(tmp_path / "fold_0" / ".lock"):
        refused = subprocess.run(second, capture_output=True, text=True)
    free = subprocess.run(second, capture_output=True, text=True)

    assert refused.returncode == 1
    assert "another process works in" in refused.stderr
    assert free.returncode == 0
