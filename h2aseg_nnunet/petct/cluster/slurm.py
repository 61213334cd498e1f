"""Tasks as jobs of Slurm: submitted as an array, followed, left and taken up again."""

import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.cluster.job import LoggedCommand
from h2aseg_nnunet.petct.cluster.sbatch import minutes, parse_sbatch
from h2aseg_nnunet.petct.execute import Task, environment
from h2aseg_nnunet.petct.files import read_own_json, write_json

FOLDER = ".slurm"
"""Inside the output folder: what submitit hands to the jobs, and which job does what."""

ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL", "DEADLINE")
LOG_LINES = 10
"""Lines of a failed job's log that are shown."""

LONGEST_PAUSE_SECONDS = 30.0
FAILED_LOOKS = 20
"""After so many looks at the queue that fail in a row, Slurm counts as gone; a busy controller fails one or two."""

TIMES_QUEUED_AGAIN = 1000


class JobFailure(NamedTuple):
    """A job that ended with an error, or without a result."""

    task: Task
    job: str
    reason: str

    def __str__(self) -> str:
        lines = _tail(self.task.log)
        shown = "".join(f"\n    | {line}" for line in lines)
        return f"{self.task.name} failed (job {self.job}: {self.reason}){shown}\n    log: {self.task.log}"


class SlurmQueue:
    """Carries tasks out as jobs; a command that is repeated takes up those that it finds.

    Args:
        options: Text of `--slurm`.
        folder: The output folder, on storage that the nodes share.

    Raises:
        UserError: If the options are wrong, or submitit or Slurm are missing.
    """

    def __init__(self, options: str, folder: Path):
        self._options = parse_sbatch(options)
        self._minutes = minutes(self._options.pop("time"))
        self._folder = folder / FOLDER
        self._record = self._folder / "jobs.json"
        self._name = f"h2aseg-{hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:8]}"
        if find_spec("submitit") is None:
            raise UserError("--slurm needs submitit: pip install 'h2aseg_nnunet[slurm]', or in a clone '.[slurm]'.")
        missing = [program for program in ("sbatch", "squeue", "srun") if shutil.which(program) is None]
        if missing:
            raise UserError(f"--slurm: {', '.join(missing)} not found; run this where you submit jobs of Slurm.")

    def execute_all(self, tasks: Sequence[Task], num_finished: int = 0, unit: str = "run") -> list[JobFailure]:
        """Carry tasks out; return those that failed, which are reported at once.

        Ctrl-C leaves the jobs running.

        Raises:
            UserError: If Slurm refuses the jobs, or cannot be asked for them any more.
        """
        jobs = self._take_up(tasks)
        new = [task for task in tasks if task.name not in jobs]
        if new:
            jobs |= dict(zip((task.name for task in new), self._submit(new), strict=True))
            write_json(self._record, {"jobs": self._recorded() | jobs})
        try:
            return self._follow({jobs[task.name]: task for task in tasks}, num_finished, unit)
        except KeyboardInterrupt:
            print(
                f"\nThe jobs go on: repeat the command to follow them again, or end them with scancel {_ids(jobs)}",
                file=sys.stderr,
            )
            raise

    def _take_up(self, tasks: Sequence[Task]) -> dict[str, str]:
        """Return the jobs of tasks that an earlier command submitted and that have not ended, by the task's name.

        Raises:
            UserError: If that cannot be known: the jobs would be submitted twice.
        """
        recorded, states = self._recorded(), self._states()
        if recorded and states is None:
            raise UserError("squeue does not answer, so jobs of an earlier command may still run: repeat it later.")
        states = states or {}
        alive = {task.name: recorded[task.name] for task in tasks if _is_alive(states.get(recorded.get(task.name, "")))}
        for name, job in alive.items():
            print(f"job {job} taken up again: {name}")
        return alive

    def _recorded(self) -> dict[str, str]:
        return dict((read_own_json(self._record) or {}).get("jobs", {}))

    def _submit(self, tasks: Sequence[Task]) -> list[str]:
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedJobError

        executor = SlurmExecutor(self._folder, max_num_timeout=TIMES_QUEUED_AGAIN)
        executor.update_parameters(
            job_name=self._name,
            time=self._minutes,
            array_parallelism=len(tasks),
            additional_parameters={"requeue": True, **self._options},
            srun_args=[f"--{name}={self._options[name]}" for name in ("cpus-per-task",) if name in self._options],
        )
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            with executor.batch():
                jobs = [executor.submit(LoggedCommand(task.process(), task.log, _variables(task))) for task in tasks]
        except FailedJobError as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise UserError(f"--slurm: sbatch refuses the jobs: {lines[-1] if lines else error}") from error
        ids = [job.job_id for job in jobs]
        for task, job in zip(tasks, ids, strict=True):
            print(f"job {job}: {task.name}")
        return ids

    def _follow(self, tasks: dict[str, Task], num_finished: int, unit: str) -> list[JobFailure]:
        """Wait for the jobs, by their ids."""
        failures, waiting, pause, blind = [], dict(tasks), 1.0, 0
        with tqdm(total=len(tasks) + num_finished, initial=num_finished, unit=unit, smoothing=0) as bar:
            while waiting:
                states = self._states()
                blind = 0 if states is not None else blind + 1
                if blind > FAILED_LOOKS:
                    raise UserError("squeue does not answer any more. The jobs go on: repeat the command later.")
                for job in [job for job in waiting if states is not None and not _is_alive(states.get(job))]:
                    task = waiting.pop(job)
                    reason = self._problem(job, (states or {}).get(job))
                    if reason:
                        failures.append(JobFailure(task, job, reason))
                        bar.write(str(failures[-1]), file=sys.stderr)
                    bar.update()
                running = sum((states or {}).get(job) == "RUNNING" for job in waiting)
                bar.set_postfix_str(f"{running} running, {len(waiting) - running} waiting, {len(failures)} failed")
                if waiting:
                    time.sleep(pause)
                    pause = min(LONGEST_PAUSE_SECONDS, pause * 1.2)
        return failures

    def _states(self) -> dict[str, str] | None:
        """Return the state of our jobs, also of those that ended a moment ago; None if Slurm does not answer."""
        command = ["squeue", "--me", "--array", "--noheader", "--states=all", f"--name={self._name}", "--format=%i %T"]
        asked = subprocess.run(command, capture_output=True, text=True)
        if asked.returncode:
            return None
        return dict(line.split(maxsplit=1) for line in asked.stdout.splitlines() if line.strip())

    def _problem(self, job: str, state: str | None) -> str:
        """Say why a job that has ended has failed; empty if it has not."""
        outcome, text = self._result(job)
        if outcome == "success":
            return ""
        if outcome == "error":
            return text.strip().splitlines()[-1].rpartition("JobFailed: ")[2]
        return f"{(state or 'ended').lower().replace('_', ' ')} without a result"

    def _result(self, job: str) -> tuple[str, Any]:
        """Read what submitit has left of a job; files of other nodes may be seen a little later."""
        from submitit.core.utils import JobPaths, pickle_load

        file = JobPaths(self._folder, job_id=job, task_id=0).result_pickle
        for _ in range(5):
            if file.is_file():
                return pickle_load(file)
            time.sleep(0.5)
        return "", ""


def _variables(task: Task) -> dict[str, str]:
    """nnU-Net's variables of a task; all others are the job's."""
    ours = environment(task)
    return {name: ours[name] for name in ours if name.startswith("nnUNet_") or name == "PYTHONUNBUFFERED"}


def _is_alive(state: str | None) -> bool:
    return state is not None and not state.startswith(ENDED)


def _ids(jobs: dict[str, str]) -> str:
    """Arrays as a whole."""
    return " ".join(sorted({job.partition("_")[0] for job in jobs.values()}))


def _tail(log: Path) -> list[str]:
    text = log.read_text(errors="replace") if log.is_file() else ""
    return text.replace("\r", "\n").splitlines()[-LOG_LINES:]
