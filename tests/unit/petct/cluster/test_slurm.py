"""Programs stand for Slurm: sbatch keeps what it was given, squeue says what a file says."""

import os
import pickle
from pathlib import Path
from typing import NamedTuple

import pytest

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.cluster import slurm as module
from h2aseg_nnunet.petct.cluster.job import JobFailed, LoggedCommand
from h2aseg_nnunet.petct.cluster.slurm import SlurmQueue


class Task(NamedTuple):
    name: str
    folder: Path
    processes: int = 3

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def process(self) -> list[str]:
        return ["program", self.name]


class Cluster:
    """Slurm, as far as commands can see. The first array has the number 7, the next one 8."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.say({})
        for name, text in {
            "sbatch": f'cp "$1" {folder}/job_$(ls {folder} | grep -c job_).sh; '
            f"echo Submitted batch job $((6 + $(ls {folder} | grep -c job_)))",
            "squeue": f"cat {folder}/queue",
            "srun": "",
        }.items():
            program = folder / name
            program.write_text(f"#!/bin/sh\n{text}\n")
            program.chmod(0o755)

    def say(self, states: dict[str, str]) -> None:
        (self.folder / "queue").write_text("".join(f"{job} {state}\n" for job, state in states.items()))

    def submitted(self) -> list[str]:
        return [file.read_text() for file in sorted(self.folder.glob("job_*.sh"))]


@pytest.fixture
def cluster(tmp_path, monkeypatch) -> Cluster:
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return Cluster(programs)


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


def end(out: Path, job: str, outcome: str = "success", result: object = None) -> None:
    """What submitit leaves of a job."""
    (out / ".slurm").mkdir(parents=True, exist_ok=True)
    (out / ".slurm" / f"{job}_0_result.pkl").write_bytes(pickle.dumps((outcome, result)))


def test_tasks_become_an_array_with_the_users_options(cluster, out, capsys):
    tasks = [Task("one", out), Task("two", out)]
    for job in ("7_0", "7_1"):
        end(out, job)

    assert SlurmQueue("-p gpu --gres gpu:1 --time 2:00:00 -c 4", out).execute_all(tasks) == []

    (script,) = cluster.submitted()
    for line in ("partition=gpu", "gres=gpu:1", "time=120", "cpus-per-task=4", "array=0-1%2", "requeue"):
        assert f"#SBATCH --{line}\n" in script
    assert "srun --unbuffered" in script and "--cpus-per-task=4" in script.partition("# command")[2]
    assert capsys.readouterr().out.splitlines() == ["job 7_0: one", "job 7_1: two"]


def test_a_job_gets_the_command_and_nnunets_variables(cluster, out, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", "/data/raw")
    monkeypatch.setenv("nnUNet_def_n_proc", "5")
    end(out, "7")
    SlurmQueue("--time 60", out).execute_all([Task("one", out)])

    command = pickle.loads((out / ".slurm" / "7_submitted.pkl").read_bytes()).function

    assert (command.command, command.log) == (["program", "one"], out / "one.log")
    ours = {name: value for name, value in command.environment.items() if name in ("nnUNet_raw", "nnUNet_def_n_proc")}
    assert ours == {"nnUNet_raw": "/data/raw", "nnUNet_def_n_proc": "5"}
    assert command.environment["nnUNet_results"] == str(out / "results") and "PATH" not in command.environment


@pytest.mark.parametrize(
    ("state", "outcome", "reason"),
    [
        ("FAILED", ("error", "Traceback\nh2aseg_nnunet.petct.cluster.job.JobFailed: exit code 3\n"), "exit code 3"),
        ("OUT_OF_MEMORY", None, "out of memory without a result"),
        ("CANCELLED", None, "cancelled without a result"),
        (None, None, "ended without a result"),
    ],
)
def test_a_failed_job_is_shown_with_the_end_of_its_log(cluster, out, monkeypatch, capsys, state, outcome, reason):
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    if outcome:
        end(out, "7", *outcome)
    cluster.say({"7": state} if state else {})
    task = Task("one", out)
    out.mkdir(exist_ok=True)
    task.log.write_text("".join(f"line {number}\n" for number in range(30)) + "bar 10 %\rbar 20 %\rlast words\n")

    (failure,) = SlurmQueue("--time 60", out).execute_all([task])

    assert failure.reason == reason
    printed = capsys.readouterr().err
    assert f"one failed (job 7: {reason})" in printed
    assert "| line 22\n" not in printed and "    | line 23\n" in printed
    assert "    | bar 20 %\n    | last words\n" in printed and str(task.log) in printed


def test_jobs_of_an_earlier_command_are_taken_up(cluster, out, monkeypatch, capsys):
    tasks = [Task("one", out), Task("two", out)]
    cluster.say({"7_0": "RUNNING", "7_1": "PENDING"})

    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(module.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        SlurmQueue("--time 60", out).execute_all(tasks)
    assert "repeat the command to follow them again, or end them with scancel 7\n" in capsys.readouterr().err

    states = [{"7_0": "RUNNING", "8": "RUNNING"}, {"7_0": "COMPLETED", "8": "COMPLETED"}]
    monkeypatch.setattr(module.time, "sleep", lambda seconds: states and cluster.say(states.pop(0)))
    cluster.say({"7_0": "RUNNING", "7_1": "CANCELLED"})
    end(out, "7_0")
    end(out, "8")
    assert SlurmQueue("--time 60", out).execute_all(tasks) == []

    assert capsys.readouterr().out.splitlines() == ["job 7_0 taken up again: one", "job 8: two"]
    assert len(cluster.submitted()) == 2


def test_a_job_that_is_queued_again_is_followed_on(cluster, out, monkeypatch):
    states = [{"7": "REQUEUED"}, {"7": "PENDING"}, {"7": "RUNNING"}, {"7": "COMPLETED"}]
    monkeypatch.setattr(module.time, "sleep", lambda seconds: states and cluster.say(states.pop(0)))
    cluster.say({"7": "PREEMPTED"})
    end(out, "7")

    assert SlurmQueue("--time 60", out).execute_all([Task("one", out)]) == []
    assert states == []


def test_a_queue_that_does_not_answer_is_asked_again_and_given_up_in_the_end(cluster, out, monkeypatch):
    looks = []
    monkeypatch.setattr(module.time, "sleep", looks.append)
    (cluster.folder / "squeue").write_text("#!/bin/sh\nexit 1\n")

    with pytest.raises(UserError, match="squeue does not answer any more"):
        SlurmQueue("--time 60", out).execute_all([Task("one", out)])
    assert len(looks) == module.FAILED_LOOKS


def test_nothing_is_submitted_twice_where_the_queue_does_not_answer(cluster, out):
    end(out, "7")
    SlurmQueue("--time 60", out).execute_all([Task("one", out)])
    (cluster.folder / "squeue").write_text("#!/bin/sh\nexit 1\n")

    with pytest.raises(UserError, match="jobs of an earlier command may still run"):
        SlurmQueue("--time 60", out).execute_all([Task("one", out)])
    assert len(cluster.submitted()) == 1


def test_what_sbatch_refuses_is_one_line(cluster, out):
    (cluster.folder / "sbatch").write_text("#!/bin/sh\necho sbatch: error: invalid partition >&2\nexit 1\n")

    with pytest.raises(UserError, match=r"sbatch refuses the jobs: sbatch: error: invalid partition"):
        SlurmQueue("--time 60", out).execute_all([Task("one", out)])


def test_without_slurm_or_submitit(out, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"sbatch, squeue, srun not found; run this where you submit jobs"):
        SlurmQueue("--time 60", out)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'h2aseg_nnunet\[slurm\]'"):
        SlurmQueue("--time 60", out)


def test_a_command_that_fails_fails_its_job(tmp_path):
    LoggedCommand(["sh", "-c", "echo $NUMBER"], tmp_path / "log", {"NUMBER": "12"})()
    assert (tmp_path / "log").read_text() == "12\n"

    with pytest.raises(JobFailed, match="exit code 3"):
        LoggedCommand(["sh", "-c", "exit 3"], tmp_path / "log", {})()


def test_a_job_whose_time_is_up_is_queued_again_as_it_was(tmp_path):
    command = LoggedCommand(["program"], tmp_path / "log", {})

    assert command.checkpoint().function is command
