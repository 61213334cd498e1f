"""Commands that are one line of Python each, and workers that only sleep."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct import child
from h2aseg_nnunet.petct.child import Ended, run_logged

WORKER_SECONDS = 60
START_WORKER = (
    "import os, signal, subprocess, sys, time\n"
    f"worker = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep({WORKER_SECONDS})'])\n"
    "print(os.getpid(), worker.pid, flush=True)\n"
)


def python(code: str) -> list[str]:
    return [sys.executable, "-u", "-c", code]


def is_alive(pid: int) -> bool:
    """Whether a process is there and more than a corpse that nobody has fetched."""
    status = Path(f"/proc/{pid}/status")
    return status.is_file() and "State:\tZ" not in status.read_text()


def wait_until(condition) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def printed_pids(log: Path) -> list[int]:
    wait_until(lambda: log.is_file() and log.read_text().endswith("\n"))
    return [int(pid) for pid in log.read_text().split()]


@pytest.fixture
def log(tmp_path) -> Path:
    return tmp_path / "logs" / "command.log"


def test_output_of_both_streams_is_appended_to_the_log_and_given_line_by_line(log):
    log.parent.mkdir()
    log.write_text("before\n")
    lines = []

    ended = run_logged(python("import sys; print('one'); print('two', file=sys.stderr)"), log, on_line=lines.append)

    assert ended == Ended(0, "two")
    assert log.read_text() == "before\none\ntwo\n"
    assert [line for line in lines if line] == ["one", "two"]


def test_a_progress_bar_is_a_line_at_each_step_and_the_last_line_needs_no_end(log):
    lines = []

    ended = run_logged(python("print('1/2', end='\\r'); print('2/2', end='')"), log, on_line=lines.append)

    assert lines == ["1/2", "2/2"]
    assert ended.last_line == "2/2"


def test_the_environment_is_the_commands(log):
    run_logged(python("import os; print(os.environ['COLOR'])"), log, os.environ | {"COLOR": "blue"})

    assert log.read_text() == "blue\n"


def test_a_log_that_cannot_be_written_is_named(log):
    log.mkdir(parents=True)

    with pytest.raises(UserError, match=r"command\.log cannot be written: Is a directory"):
        run_logged(python("pass"), log)


@pytest.mark.parametrize(
    ("code", "exit_code", "reason"),
    [
        ("raise SystemExit(3)", 3, "exit code 3"),
        (
            "import os; os.kill(os.getpid(), 9)",
            -9,
            "killed by SIGKILL, perhaps for want of memory",
        ),
        ("import os; os.kill(os.getpid(), 15)", -15, "killed by SIGTERM"),
    ],
)
def test_an_exit_code_comes_back_in_numbers_and_words(log, code, exit_code, reason):
    ended = run_logged(python(code), log)

    assert (ended.exit_code, ended.reason) == (exit_code, reason)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_command_leaves_no_worker_and_is_not_waited_for(log, number):
    start = time.monotonic()

    ended = run_logged(python(START_WORKER + f"os.kill(os.getpid(), {number.value})"), log)

    assert ended.exit_code == -number
    assert time.monotonic() - start < WORKER_SECONDS / 2
    assert not any(map(is_alive, printed_pids(log)))


def test_a_command_that_ends_leaves_no_worker(log):
    assert run_logged(python(START_WORKER), log).exit_code == 0

    assert not any(map(is_alive, printed_pids(log)))


def test_a_worker_that_does_not_listen_is_killed(log, monkeypatch):
    monkeypatch.setattr(child, "SECONDS_TO_END", 0.5)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); "
    deaf += f"time.sleep({WORKER_SECONDS})"
    code = (
        "import subprocess, sys\n"
        f"worker = subprocess.Popen([sys.executable, '-c', {deaf!r}], stdout=subprocess.PIPE)\n"
        "worker.stdout.readline()\nprint(worker.pid)"
    )

    run_logged(python(code), log)

    wait_until(lambda: not any(map(is_alive, printed_pids(log))))


def test_all_ends_with_a_killed_supervisor(log):
    """Whoever looks for the command by its name may find the supervisor."""

    def kill_supervisor() -> None:
        command, _ = printed_pids(log)
        status = Path(f"/proc/{command}/status").read_text()
        (parent,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("PPid"))
        os.kill(parent, signal.SIGKILL)

    threading.Thread(target=kill_supervisor).start()
    ended = run_logged(python(START_WORKER + f"time.sleep({WORKER_SECONDS})"), log)

    assert ended.exit_code == -signal.SIGKILL
    assert not any(map(is_alive, printed_pids(log)))


def test_all_ends_with_a_killed_caller(log):
    caller = (
        "import sys; from pathlib import Path; from h2aseg_nnunet.petct.child import run_logged\n"
        "run_logged([sys.executable, '-c', sys.argv[2]], Path(sys.argv[1]))"
    )
    code = START_WORKER + f"time.sleep({WORKER_SECONDS})"
    with subprocess.Popen([sys.executable, "-c", caller, str(log), code]) as process:
        pids = printed_pids(log)
        process.kill()

    wait_until(lambda: not any(map(is_alive, pids)))


def test_ctrl_c_lets_the_command_clean_up(log):
    # a job in the background ignores Ctrl-C
    heed = "import signal, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heed}\nprint('ready')\ntry: time.sleep(60)\nexcept KeyboardInterrupt: print('cleaned up')"

    def interrupt(line: str) -> None:
        if line == "ready":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_logged(python(code), log, on_line=interrupt)

    assert log.read_text() == "ready\ncleaned up\n"
