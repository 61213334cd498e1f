"""Commands in processes of their own whose output goes to a log, and of which nothing is left when they end.

nnU-Net starts workers. When its process is killed from outside, for want of memory or by hand, they live on and hold
its output open. So a command runs in a process group of its own, its output is not waited for, and the whole group ends
with the command's main process. The group is led by a small supervisor (supervisor.py), which ends it when this process
is killed.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct import supervisor

POLL_SECONDS = 0.1
SECONDS_TO_CLEAN_UP = 30
"""How long a command may clean up after Ctrl-C."""

SECONDS_TO_END = 3
"""How long the rest of a group may take to end by itself."""

NO_SIGNAL = 0
"""Asks the system whether there is a process, and does nothing to it."""


class Ended(NamedTuple):
    """How a command ended.

    Attributes:
        exit_code: 0 for success; -N if signal N killed the command.
        last_line: The last line of output that is not empty.
    """

    exit_code: int
    last_line: str

    @property
    def reason(self) -> str:
        """The exit code in words."""
        if self.exit_code >= 0:
            return f"exit code {self.exit_code}"
        names = {number.value: number.name for number in signal.Signals}
        cause = ", perhaps for want of memory" if self.exit_code == -signal.SIGKILL else ""
        return f"killed by {names.get(-self.exit_code, f'signal {-self.exit_code}')}{cause}"


def run_logged(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] = lambda line: None,
) -> Ended:
    """Run a command until its main process ends, and end what it has started.

    Ctrl-C is passed on, and the command is given time to clean up.

    Args:
        command: Program and arguments.
        log: File to which all output is appended.
        environment: Environment of the command; None for that of this process.
        on_line: Called with every line of output, soon after it is written.

    Raises:
        UserError: If the log cannot be written.
    """
    with _opened(log) as (written, read):
        output = _Output(read)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", supervisor.__file__, *command],
            env=environment,
            stdin=subprocess.PIPE,  # closed when this process ends, however it ends
            stdout=written,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                for line in output.new_lines():
                    on_line(line)
                time.sleep(POLL_SECONDS)
        except BaseException:  # Ctrl-C
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(SECONDS_TO_CLEAN_UP)
            raise
        finally:
            _end_group(process)
        for line in output.new_lines(at_end=True):
            on_line(line)
    return Ended(process.returncode, output.last_line)


@contextlib.contextmanager
def _opened(log: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Open a log for appending and for reading."""
    with contextlib.ExitStack() as files:
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            written, read = files.enter_context(log.open("ab")), files.enter_context(log.open("rb"))
        except OSError as error:
            raise UserError(f"{log} cannot be written: {error.strerror}. Choose another folder.") from error
        yield written, read


class _Output:
    """Lines that are appended to a file from now on."""

    def __init__(self, file: BinaryIO):
        file.seek(0, os.SEEK_END)
        self.last_line = ""
        self._file = file
        self._begun = b""

    def new_lines(self, at_end: bool = False) -> Iterator[str]:
        """Yield lines as they are whole; at the end, what is left too. Progress bars end lines by a carriage return."""
        *whole, self._begun = re.split(rb"[\r\n]", self._begun + self._file.read())
        for line in [*whole, self._begun] if at_end else whole:
            text = line.decode(errors="replace")
            self.last_line = text.strip() or self.last_line
            yield text


def _end_group(process: subprocess.Popen) -> None:
    """End all processes of the group that a process leads or led; workers first, so that others may clean up."""
    _signal_group(process, signal.SIGTERM)
    end = time.monotonic() + SECONDS_TO_END
    while _signal_group(process, NO_SIGNAL) and time.monotonic() < end:
        time.sleep(POLL_SECONDS)
    _signal_group(process, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _signal_group(process: subprocess.Popen, number: int) -> bool:
    """Send a signal; return whether anyone is left in the group."""
    process.poll()  # fetches a dead leader, which else would count
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
