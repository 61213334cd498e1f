"""Tasks one after the other, each in a process of its own: one that fails leaves the others alone."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from tqdm import tqdm

from h2aseg_nnunet.petct.child import Ended, run_logged

EPOCH = re.compile(r"Epoch (\d+)\s*$")


class Task(Protocol):
    """What is carried out by a process of its own: a training, or predictions.

    Attributes:
        name: Name in messages and in the progress bar, unique within a command.
        log: Output of the process.
        results: nnUNet_results of the process.
        processes: Number of processes of nnU-Net, if the user has not set nnUNet_def_n_proc.
    """

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
    """A task that ended with an error."""

    task: Task
    ended: Ended

    def __str__(self) -> str:
        reason, last_line = self.ended.reason, self.ended.last_line
        return f"{self.task.name} failed ({reason}): {last_line}\n    log: {self.task.log}"


Execute = Callable[[Sequence[Task], int, str], Sequence[object]]
"""Carries tasks out and returns those that failed, as `execute_all` does."""


def execute_all(tasks: Sequence[Task], num_finished: int = 0, unit: str = "run") -> list[Failure]:
    """Carry out tasks one after the other; return those that failed, which are reported at once."""
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

    def show_epoch(line: str) -> None:
        epoch = EPOCH.search(line)
        if epoch:
            bar.set_postfix_str(f"epoch {epoch[1]}")

    ended = run_logged(task.process(), task.log, environment(task), show_epoch)
    return Failure(task, ended) if ended.exit_code else None


def environment(task: Task) -> dict[str, str]:
    """Return nnU-Net's variables as the user has set them, but with results inside the comparison's folder."""
    defaults = {"nnUNet_def_n_proc": str(task.processes)}
    return defaults | os.environ | {"nnUNet_results": str(task.results), "PYTHONUNBUFFERED": "1"}
