"""A real Slurm of one node: arrays, failing jobs, jobs that are cancelled, left, queued again and taken up again."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from h2aseg_nnunet.cli import main
from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.cluster.slurm import SlurmQueue
from tests.integration.nnunet_workspace import SHORT, STOCK_SHORT, Workspace
from tests.models import make_network, make_plans, save_model
from tests.synthetic import write_phantom

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("slurm"),
    pytest.mark.filterwarnings("default"),  # nnU-Net and what it stands on warn of their own matters
]
JOBS = "--time 30 --mem 1500M"

COUNT_TO_THREE = """
import os, sys, time
from pathlib import Path
counted = Path(sys.argv[1])
with counted.open("a") as file:
    file.write("start\\n")
while counted.read_text().count("step") < 3:
    while counted.with_suffix(".wait").exists():
        time.sleep(0.1)
    with counted.open("a") as file:
        file.write("step\\n")
    print("counted", flush=True)
"""


class Counting(NamedTuple):
    """Counts to three in a file, from where it left off; waits while there is a file that says so."""

    name: str
    folder: Path
    code: str = COUNT_TO_THREE
    processes: int = 1

    @property
    def results(self) -> Path:
        return self.folder

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def counted(self) -> Path:
        return self.folder / f"{self.name}.txt"

    @property
    def wait(self) -> Path:
        return self.counted.with_suffix(".wait")

    def process(self) -> list[str]:
        return [sys.executable, "-c", self.code, str(self.counted)]

    @property
    def starts(self) -> int:
        return self.counted.read_text().count("start")

    @property
    def steps(self) -> int:
        return self.counted.read_text().count("step")


@pytest.fixture
def queue(tmp_path) -> SlurmQueue:
    return SlurmQueue("--partition=main --time 10 --mem 500M", tmp_path)


def job_of(name: str, printed: str) -> str:
    return re.search(rf"job (\S+): {name}\n", printed)[1]


def until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def in_background(queue, tasks) -> tuple[threading.Thread, list]:
    failures: list = []
    thread = threading.Thread(target=lambda: failures.extend(queue.execute_all(tasks)))
    thread.start()
    return thread, failures


def test_an_array_is_carried_out_and_its_failure_shown(queue, tmp_path, capsys):
    fails = "import sys; print('out of cheese'); sys.exit(3)"
    tasks = [Counting("one", tmp_path), Counting("two", tmp_path, fails), Counting("three", tmp_path)]

    (failure,) = queue.execute_all(tasks)

    printed = capsys.readouterr()
    jobs = [job_of(task.name, printed.out) for task in tasks]
    assert [job.partition("_")[2] for job in jobs] == ["0", "1", "2"]
    assert len({job.partition("_")[0] for job in jobs}) == 1
    assert (failure.task.name, failure.job, failure.reason) == ("two", jobs[1], "exit code 3")
    assert "    | out of cheese" in printed.err and str(tasks[1].log) in printed.err
    assert (tasks[0].starts, tasks[0].steps) == (tasks[2].starts, tasks[2].steps) == (1, 3)


def test_a_cancelled_job_goes_on_when_the_command_is_repeated(queue, tmp_path, capsys):
    task = Counting("one", tmp_path)
    task.wait.touch()
    thread, failures = in_background(queue, [task])
    until(lambda: task.counted.is_file())
    job = job_of("one", capsys.readouterr().out)
    subprocess.run(["scancel", job], check=True)
    thread.join(90)
    assert len(failures) == 1 and task.steps == 0

    task.wait.unlink()
    assert queue.execute_all([task]) == []

    assert (task.starts, task.steps) == (2, 3)
    assert job_of("one", capsys.readouterr().out) != job


def test_a_command_that_is_left_leaves_its_jobs_and_takes_them_up_again(queue, tmp_path, capsys):
    tasks = [Counting("one", tmp_path), Counting("two", tmp_path)]
    tasks[0].wait.touch()

    def interrupt():
        until(lambda: tasks[0].counted.is_file())
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            queue.execute_all(tasks)
    finally:
        signal.signal(signal.SIGINT, before)
        thread.join()
    left = capsys.readouterr()
    job = job_of("one", left.out)
    assert f"scancel {job.partition('_')[0]}" in left.err and "repeat the command" in left.err
    until(lambda: tasks[1].counted.is_file() and tasks[1].steps == 3)

    threading.Timer(3, tasks[0].wait.unlink).start()
    assert SlurmQueue("--time 10", tmp_path).execute_all(tasks[:1]) == []

    assert f"job {job} taken up again: one" in capsys.readouterr().out
    assert (tasks[0].starts, tasks[0].steps) == (1, 3)


@pytest.mark.parametrize("queue_again", [["scontrol", "requeue"], ["scancel", "--signal", "USR2"]])
def test_a_job_that_is_queued_again_goes_on_and_is_followed_on(queue, tmp_path, capsys, queue_again):
    """By Slurm, when another job needs the node, or by itself, when its time is nearly up."""
    task = Counting("one", tmp_path)
    task.wait.touch()
    thread, failures = in_background(queue, [task])
    until(lambda: task.counted.is_file())
    job = job_of("one", capsys.readouterr().out)
    subprocess.run([*queue_again, job], check=True)
    until(
        lambda: (
            "PENDING" in subprocess.run(["squeue", "-h", "-j", job, "-o", "%T"], capture_output=True, text=True).stdout
        )
    )
    task.wait.unlink()
    subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], check=True)  # Slurm waits two minutes
    thread.join(120)

    assert failures == []
    assert (task.starts, task.steps) == (2, 3)


def test_options_that_slurm_refuses_are_one_line(tmp_path):
    with pytest.raises(UserError, match=r"sbatch refuses the jobs: .*partition"):
        SlurmQueue("--partition absent --time 10", tmp_path).execute_all([Counting("one", tmp_path)])


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("nnunet"))


def h2aseg(workspace: Workspace, *arguments, **variables: str) -> int:
    with workspace.environment(nnUNet_def_n_proc="1", nnUNet_n_proc_DA="1", OMP_NUM_THREADS="1", **variables):
        return main(list(map(str, arguments)))


def test_folds_are_trained_by_nnunet_and_its_instructions_printed(workspace, capsys):
    dataset = workspace.dataset("binary")
    what = ["-d", dataset.id, "-c", "3d_fullres", "-tr", SHORT, "--folds", "0", "1", "-device", "cpu"]

    assert h2aseg(workspace, "train-folds", *what, "--slurm", JOBS) == 0
    first = capsys.readouterr().out
    assert h2aseg(workspace, "train-folds", *what, "--slurm", JOBS) == 0
    second = capsys.readouterr().out

    model = dataset.results / f"{SHORT}__nnUNetPlans__3d_fullres"
    assert [(model / f"fold_{fold}" / "validation" / "summary.json").is_file() for fold in (0, 1)] == [True, True]
    assert first.count("job ") == 3 and "job " not in second
    for printed in (first, second):
        assert f"nnUNetv2_predict -d {dataset.name} -i INPUT_FOLDER -o OUTPUT_FOLDER -f  0 1 -tr {SHORT}" in printed


def test_a_cancelled_fold_goes_on_from_nnunets_checkpoint(workspace, tmp_path, capsys):
    dataset = workspace.dataset("binary")
    trainer = "nnUNetTrainerH2ASegInterruptible"
    what = ["-d", dataset.id, "-c", "3d_fullres", "-tr", trainer, "--folds", "0", "-device", "cpu", "--slurm", JOBS]
    waiting = tmp_path / "waiting"

    def cancel():
        until(waiting.is_file, 300)
        jobs = json.loads((dataset.results / f"{trainer}__nnUNetPlans__3d_fullres/.slurm/jobs.json").read_text())[
            "jobs"
        ]
        subprocess.run(["scancel", *jobs.values()], check=True)

    thread = threading.Thread(target=cancel)
    thread.start()
    assert h2aseg(workspace, "train-folds", *what, WAIT_AT="epoch 2", WAITING=str(waiting)) == 1
    thread.join()
    assert "fold 0 failed (job" in capsys.readouterr().err
    assert h2aseg(workspace, "train-folds", *what) == 0

    log = (dataset.results / f"{trainer}__nnUNetPlans__3d_fullres" / "train_fold_0.log").read_text()
    assert re.findall(r"Epoch (\d)", log) == ["0", "1", "2", "2", "3"]


def test_trainers_are_compared(workspace, tmp_path, capsys):
    dataset = workspace.dataset("binary")
    schedule = ["--epochs", "1", "--iterations", "1", "--val-iterations", "1", "-np", "1", "-device", "cpu"]
    what = ["-d", dataset.id, "-c", "3d_fullres", "--folds", "0", *schedule, "-o", tmp_path / "out", "--slurm", JOBS]

    assert h2aseg(workspace, "compare", *what, "--trainers", SHORT, STOCK_SHORT) == 0

    printed = capsys.readouterr()
    assert printed.out.count("job ") == 2 and f"| {STOCK_SHORT}" in printed.out
    assert (tmp_path / "out" / "compare.md").is_file()


def test_cases_are_segmented_in_jobs_and_a_refused_one_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # more of them make tiny tensors slow
    plans = make_plans()
    model = save_model(tmp_path / "model", make_network(plans), plans)
    for name in ("a", "b", "c", "d"):
        write_phantom(tmp_path / "images", name=name)
    (tmp_path / "images" / "c_0001.nii.gz").write_bytes(b"no image")
    what = [
        "-i",
        tmp_path / "images",
        "-m",
        model,
        "-o",
        tmp_path / "out",
        "-device",
        "cpu",
        "--disable_tta",
        "--force",
    ]
    command = ["segment", *map(str, what), "-np", "1", "--slurm", JOBS, "--cases-per-job", "2"]

    assert main(command) == 1

    printed = capsys.readouterr()
    assert [line.partition(": ")[2] for line in printed.out.splitlines()[:2]] == ["2 cases, a to b", "2 cases, c to d"]
    assert "c REFUSED: " in printed.out and "Segmented 3 of 4" in printed.out
    done = [(tmp_path / "out" / "cases" / name / "mask.nii.gz").is_file() for name in ("a", "b", "c", "d")]
    assert done == [True, True, False, True]

    write_phantom(tmp_path / "images", name="c")
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines()[0].partition(": ")[2] == "2 cases, c to d"
