"""Tasks one after the other, each in a process of its own: one that fails leaves the others alone."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from tqdm import tqdm

EPOCH = re.compile(r"Epoch (\d+)\s*$")
SECONDS_TO_END = 30


class Task(Protocol):
    """What is carried out by a process of its own: a `Run`, or an `Ensemble`'s predictions."""

    @property
    def name(self) -> str: ...

    @property
    def log(self) -> Path: ...

    @property
    def results(self) -> Path: ...

    @property
    def processes(self) -> int: ...

    def process(self) -> list[str]: ...


class Failure(NamedTuple):
    """A task that ended with an error, and the last line that it printed."""

    task: Task
    exit_code: int
    last_line: str

    def __str__(self) -> str:
        return f"{self.task.name} failed (exit code {self.exit_code}): {self.last_line}\n    log: {self.task.log}"


def execute_all(tasks: Sequence[Task], num_finished: int = 0, unit: str = "run") -> list[Failure]:
    """Carry out tasks one after the other; returns those that failed, which are reported at once."""
    failures = []
    with tqdm(total=len(tasks) + num_finished, initial=num_finished, unit=unit, smoothing=0) as bar:
        for task in tasks:
            bar.set_description(task.name)
            failure = execute(task, bar)
            if failure:
                failures.append(failure)
                bar.write(str(failure), file=sys.stderr)
            bar.update()
    return failures


def execute(task: Task, bar: tqdm) -> Failure | None:
    """Carry out one task; its output goes to its log, the number of its epoch to the bar."""
    task.log.parent.mkdir(parents=True, exist_ok=True)
    last_line = ""
    with (
        task.log.open("a", encoding="utf-8") as log,
        subprocess.Popen(
            task.process(),
            env=environment(task),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        try:
            for line in process.stdout or ():
                log.write(line)
                log.flush()
                last_line = line.strip() or last_line
                epoch = EPOCH.search(line)
                if epoch:
                    bar.set_postfix_str(f"epoch {epoch[1]}")
        except BaseException:  # Ctrl-C: nnU-Net's workers end with a process that may clean up
            _end(process)
            raise
    return Failure(task, process.returncode, last_line) if process.returncode else None


def environment(task: Task) -> dict[str, str]:
    """nnU-Net's variables as the user has set them, but results inside the comparison's folder."""
    defaults = {"nnUNet_def_n_proc": str(task.processes)}
    return defaults | os.environ | {"nnUNet_results": str(task.results), "PYTHONUNBUFFERED": "1"}


def _end(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
