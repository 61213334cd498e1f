import os

import pytest

from h2aseg_nnunet.petct.parallel import in_parallel


def square(number):
    return number**2, os.getpid()


def die(number):
    os._exit(1)


def fail(number):
    raise ValueError(f"{number} is odd")


def test_one_process_is_this_one():
    results = list(in_parallel(square, [1, 2, 3], num_processes=1))
    assert results == [(n, (n * n, os.getpid())) for n in (1, 2, 3)]


def test_every_item_comes_back_from_other_processes():
    results = dict(in_parallel(square, [1, 2, 3], num_processes=2))

    assert {number: result for number, (result, _) in results.items()} == {1: 1, 2: 4, 3: 9}
    assert os.getpid() not in {process for _, process in results.values()}


def test_nothing_to_do():
    assert list(in_parallel(square, [], num_processes=4)) == []


@pytest.mark.parametrize("num_processes", [1, 2])
def test_an_error_comes_through(num_processes):
    with pytest.raises(ValueError, match="is odd"):
        list(in_parallel(fail, [1, 3], num_processes))


def test_a_killed_process_is_explained():
    with pytest.raises(RuntimeError, match=r"want of memory.* fewer processes"):
        list(in_parallel(die, [1, 2], num_processes=2))
