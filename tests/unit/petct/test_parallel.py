import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.parallel import QUEUED, in_parallel


def square(number):
    return number**2, os.getpid()


def die(number):
    os._exit(1)


def fail(number):
    raise ValueError(f"{number} is odd")


def sleep(seconds):
    time.sleep(seconds)
    return seconds


def test_one_process_is_this_one():
    results = list(in_parallel(square, [1, 2, 3], num_processes=1))
    assert results == [(n, (n * n, os.getpid())) for n in (1, 2, 3)]


def test_every_item_comes_back_from_other_processes():
    results = dict(in_parallel(square, [1, 2, 3], num_processes=2))

    assert {number: result for number, (result, _) in results.items()} == {1: 1, 2: 4, 3: 9}
    assert os.getpid() not in {process for _, process in results.values()}


@pytest.mark.parametrize("num_processes", [1, 2])
def test_nothing_to_do(num_processes):
    assert list(in_parallel(square, [], num_processes)) == []


@pytest.mark.parametrize("num_processes", [1, 2])
def test_items_are_made_when_they_are_needed(num_processes):
    """Large items, such as the logits of a whole body, must not pile up."""
    taken, results = 0, 0

    def items():
        nonlocal taken
        for number in range(12):
            taken += 1
            yield number

    for _ in in_parallel(square, items(), num_processes):
        assert taken - results <= num_processes + QUEUED
        results += 1

    assert taken == results == 12


@pytest.mark.parametrize("num_processes", [1, 2])
def test_an_error_comes_through(num_processes):
    with pytest.raises(ValueError, match="is odd"):
        list(in_parallel(fail, [1, 3], num_processes))


@pytest.mark.parametrize("num_processes", [1, 2])
def test_an_error_of_the_items_comes_through(num_processes):
    def items():
        yield 1
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(in_parallel(square, items(), num_processes))


def test_a_killed_process_is_explained():
    with pytest.raises(UserError, match=r"want of memory.* fewer processes"):
        list(in_parallel(die, [1, 2], num_processes=2))


def test_a_caller_who_stops_early_waits_for_nothing():
    others = set(multiprocessing.active_children())  # of tests before this one
    results = in_parallel(sleep, [0, 600, 600], num_processes=2)
    assert next(results) == (0, 0)

    results.close()

    assert ends(lambda: set(multiprocessing.active_children()) - others)


INTERRUPTED = """
import signal, sys, time
from h2aseg_nnunet.petct.parallel import in_parallel

def sleep(seconds):
    time.sleep(seconds)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    for item, _ in in_parallel(sleep, [0, 600, 600], 2):
        print(item, flush=True)
"""


@pytest.fixture
def interrupted(tmp_path):
    """A process in whose workers items sleep for ten minutes."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("processes are counted in /proc")
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, script], start_new_session=True, **pipes) as process:
        assert process.stdout.readline() == b"0\n"
        yield process
        process.kill()


def test_ctrl_c_ends_everything_and_only_the_main_process_says_so(interrupted):
    os.killpg(interrupted.pid, signal.SIGINT)  # as a terminal does, to the main process and its workers

    _, error = interrupted.communicate(timeout=20)

    assert error.count(b"Traceback") == 1 and error.rstrip().endswith(b"KeyboardInterrupt")
    assert ends(lambda: group_is_alive(interrupted.pid))


def test_the_workers_of_a_killed_process_end_as_well(interrupted):
    interrupted.kill()

    assert ends(lambda: group_is_alive(interrupted.pid))


def ends(is_alive, within_seconds=10):
    for _ in range(within_seconds * 10):
        if not is_alive():
            return True
        time.sleep(0.1)
    return False


def group_is_alive(group):
    """Whether a process of a group still runs; those that nobody has waited for do not."""
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, process_group = file.read_text().rpartition(")")[2].split()[:3]
            if int(process_group) == group and state != "Z":
                return True
    return False
