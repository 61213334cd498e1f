"""What a job of Slurm carries out: a command whose output goes to a log, as on one machine."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from h2aseg_nnunet.petct.child import run_logged


class JobFailed(Exception):  # noqa: N818 (its name stands at the end of the job's log)
    """The command of a job ended with an error."""


class LoggedCommand:
    """A command that goes on where it left off when it is started again. submitit calls it on the node.

    Args:
        command: Program and arguments.
        log: File to which its output is appended.
        environment: Variables beside those of the job.
    """

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]):
        self.command = list(command)
        self.log = log
        self.environment = dict(environment)

    def __call__(self) -> None:
        """Carry the command out.

        Raises:
            JobFailed: If it fails, so that Slurm knows, too.
        """
        ended = run_logged(self.command, self.log, {**os.environ, **self.environment})
        if ended.exit_code:
            raise JobFailed(ended.reason)

    def checkpoint(self) -> Any:
        """Return what is to be queued again when the time is up, or another job needs the node: the same command."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)
