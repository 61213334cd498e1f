import os
from pathlib import Path

import pytest

from h2aseg_nnunet.petct.robustness.predict import _Exports


def test_leaving_waits_for_the_other_processes(tmp_path):
    files = [tmp_path / f"{number}" for number in range(5)]

    with _Exports(2) as exports:
        for file in files:
            exports.add(Path.touch, file)

    assert all(file.exists() for file in files)


def test_what_other_processes_raise_is_raised(tmp_path):
    with pytest.raises(FileNotFoundError), _Exports(2) as exports:
        exports.add(Path.touch, tmp_path / "missing" / "file")


def test_a_killed_process_is_told_instead_of_waited_for():
    with pytest.raises(RuntimeError, match="fewer processes"), _Exports(2) as exports:
        exports.add(os._exit, 1)
