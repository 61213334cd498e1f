import os
import time
from typing import NamedTuple

import pytest
from distributed import get_worker

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct import files
from h2aseg_nnunet.petct.cluster.attempts import Lost
from h2aseg_nnunet.petct.cluster.engine import CASES_PER_THREAD, LOST
from h2aseg_nnunet.petct.parallel import Stage, chosen_engine, in_parallel


class Case(NamedTuple):
    name: str
    number: int = 0


def square(number):
    return number**2


def fail(number):
    raise ValueError(f"{number} is odd")


def kill_worker_if_odd(case):
    """What `carry_out` returns of a case whose workers have died."""
    return Lost(2) if case.number % 2 else case.number


def worker(case):
    return str(get_worker().name)


def worker_and_earlier(earlier):
    return (*([earlier] if isinstance(earlier, str) else earlier), str(get_worker().name))


def test_every_case_comes_back_once(on_cluster):
    results = list(in_parallel(square, range(20), 1))

    assert sorted(results) == [(n, n * n) for n in range(20)]


def test_cases_of_one_name_are_different_cases(on_cluster):
    results = list(in_parallel(worker, [Case("case", 1), Case("case", 2)], 1))

    assert sorted(case.number for case, _ in results) == [1, 2]


def test_cases_are_made_when_they_are_needed(on_cluster):
    taken, results = 0, 0

    def items():
        nonlocal taken
        for number in range(30):
            taken += 1
            yield number

    for _ in in_parallel(square, items(), 1):
        assert taken - results <= CASES_PER_THREAD * 2
        results += 1

    assert taken == results == 30


def test_an_error_comes_through(on_cluster):
    with pytest.raises(ValueError, match="is odd"):
        list(in_parallel(fail, [1], 1))


def test_an_error_of_the_items_comes_through(on_cluster):
    def items():
        yield 1
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(in_parallel(square, items(), 1))


def test_a_caller_who_stops_early_waits_for_nothing(on_cluster):
    began = time.monotonic()
    results = in_parallel(time.sleep, [0.0, *[0.5] * 50], 1)
    next(results)
    results.close()

    assert time.monotonic() - began < 2
    assert len(list(in_parallel(square, range(4), 1))) == 4


def test_a_case_whose_workers_die_is_recorded_after_the_others(on_cluster):
    cases = [Case("a", 1), Case("b", 2), Case("c", 3), Case("d", 4)]

    results = list(in_parallel(kill_worker_if_odd, cases, 1, lost=lambda case, why: f"{case.name}: {why}"))

    assert sorted(result for _, result in results[:2]) == [2, 4]
    assert [result for _, result in results[2:]] == [f"a: {LOST}", f"c: {LOST}"]
    assert "died 3 times" in LOST


def test_a_case_that_is_needed_is_named_when_its_workers_die(on_cluster):
    with pytest.raises(UserError, match="PETCT_1: its worker died 3 times"):
        list(in_parallel(kill_worker_if_odd, [Case("PETCT_1", 1)], 1))


def test_gpus_are_kept_for_what_needs_them(on_cluster):
    stages = [Stage(worker), Stage(worker_and_earlier, on_gpu=True), Stage(worker_and_earlier)]

    results = [result for _, result in chosen_engine().run(stages, [Case(str(n)) for n in range(6)], None)]

    assert results == [("without_gpu", "with_gpu", "without_gpu")] * 6


def test_files_are_written_under_names_of_their_own_and_leftovers_of_the_dead_go(on_cluster, tmp_path):
    killed = tmp_path / f"{files.PARTIAL}{'0' * 16}-out.txt"
    other = tmp_path / f"{files.PARTIAL}{'0' * 16}-other.txt"
    for file in (killed, other):
        file.touch()

    ((_, names),) = in_parallel(names_while_writing, [tmp_path / "out.txt"], 1)

    assert [name for name in names if name not in (killed.name, other.name)] != [f"{files.PARTIAL}out.txt"]
    assert sorted(os.listdir(tmp_path)) == [other.name, "out.txt"]


def names_while_writing(file):
    with files.replacing(file) as temporary:
        temporary.touch()
        return os.listdir(file.parent)
