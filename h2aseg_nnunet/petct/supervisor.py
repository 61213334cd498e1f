"""Runs a command and ends with it; ends the command's whole process group if the process that asked for it ends.

It is run as a program by child.py, without this package: it must start at once. Its standard input is a pipe that the
asking process holds open and never writes to.
"""

import os
import signal
import subprocess
import sys
import threading
from types import FrameType


def supervise(command: list[str]) -> int:
    """Run a command, pass signals on to it, and return its exit code, -N if signal N killed it."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def pass_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    threading.Thread(target=_end_with_asker, daemon=True).start()
    return process.wait()


def _end_with_asker() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.killpg(0, signal.SIGKILL)


def _end_as(exit_code: int) -> None:
    """End by the same exit code or signal."""
    if exit_code < 0:
        if exit_code != -signal.SIGKILL:
            signal.signal(-exit_code, signal.SIG_DFL)
        os.kill(os.getpid(), -exit_code)
    sys.exit(exit_code)


if __name__ == "__main__":
    _end_as(supervise(sys.argv[1:]))
