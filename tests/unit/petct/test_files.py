import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.files import (
    OutputFolder,
    as_json,
    exclusively,
    read_json,
    read_own_json,
    replacing,
    require_own,
    write_json,
)


def test_a_file_appears_whole_and_keeps_its_ending_while_it_is_written(tmp_path):
    with replacing(tmp_path / "new" / "mask.nii.gz") as temporary:
        assert temporary.name.endswith(".nii.gz")
        temporary.write_text("whole")
        assert not (tmp_path / "new" / "mask.nii.gz").exists()

    assert [(file.name, file.read_text()) for file in (tmp_path / "new").iterdir()] == [("mask.nii.gz", "whole")]


def test_a_failure_leaves_the_old_file_and_no_remains(tmp_path):
    file = tmp_path / "table.json"
    file.write_text("old")

    with pytest.raises(ValueError, match="half-way"), replacing(file) as temporary:
        temporary.write_text("ha")
        raise ValueError("half-way")

    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_hidden_file_of_the_user_is_no_temporary_file(tmp_path):
    (tmp_path / ".table.json").write_text("the user's")

    with replacing(tmp_path / "table.json") as temporary:
        temporary.write_text("new")

    assert (tmp_path / ".table.json").read_text() == "the user's"


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(UserError, match=r"file/table\.json cannot be written: "):
        write_json(tmp_path / "file" / "table.json", {})


def test_an_error_of_another_file_is_not_taken_for_one_of_the_output(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "table.json") as temporary:
        temporary.write_bytes((tmp_path / "source").read_bytes())


def test_json_has_null_for_nan_at_any_depth():
    content = {"a": math.nan, "b": [1.5, (math.nan,)], "c": {"d": "é"}}

    assert json.loads(as_json(content)) == {"a": None, "b": [1.5, [None]], "c": {"d": "é"}}
    assert "é" in as_json(content)


@pytest.mark.parametrize(("text", "part"), [(None, "cannot be read: No such file"), ("{", "is not valid JSON")])
def test_json_of_users_that_cannot_be_read_is_named(tmp_path, text, part):
    file = tmp_path / "settings.json"
    if text is not None:
        file.write_text(text)

    with pytest.raises(UserError, match=rf"settings\.json {part}"):
        read_json(file)


@pytest.mark.parametrize("content", [b"", b"[1]", b"\x1f\x8b", b'{"a": ', b'{"a": "\xff"}'])
def test_what_is_no_json_object_is_not_ours(tmp_path, content):
    (tmp_path / "file").write_bytes(content)

    assert read_own_json(tmp_path / "file") is None


def test_an_output_may_replace_an_earlier_one_and_nothing_else(tmp_path):
    def is_own(file):
        return file.read_text() == "ours"

    ours, other, link, folder = (tmp_path / name for name in ("ours", "other", "link", "folder"))
    ours.write_text("ours")
    other.write_text("not ours")
    link.symlink_to(tmp_path / "unmounted")
    folder.mkdir()

    require_own(ours, is_own, "a table")
    require_own(tmp_path / "new", is_own, "a table")
    for file in (other, link, folder):
        with pytest.raises(UserError, match=rf"{file} exists and is not a table: it is left as it is"):
            require_own(file, is_own, "a table")


@pytest.fixture
def output(tmp_path):
    return OutputFolder(tmp_path / "report", "report.json", "a report", keys=("images",))


def test_a_new_folder_is_claimed_and_the_same_run_may_go_on(output):
    output.claim({"images": "a", "number": 1})
    output.claim({"images": "a", "number": 1})

    assert output.settings() == {"images": "a", "number": 1}


def test_another_run_is_refused_with_what_differs(output):
    output.claim({"images": "a", "number": 1})

    with pytest.raises(UserError, match=r"holds a report with other settings \(number 1, now 2\): choose another"):
        output.claim({"images": "a", "number": 2})


@pytest.mark.parametrize("foreign", ["file", "folder", "mark", "link"])
def test_a_folder_of_somebody_else_is_refused_and_left_as_it_is(output, foreign):
    if foreign == "file":
        output.path.write_text("mine")
    elif foreign == "link":
        output.path.symlink_to("unmounted")
    else:
        output.path.mkdir()
        (output.path / {"folder": "thesis.txt", "mark": "report.json"}[foreign]).write_text('{"title": "mine"}')
    before = {file: file.lstat() for file in output.path.parent.rglob("*")}

    with pytest.raises(UserError, match="exists and is not a report: choose another folder"):
        output.claim({"images": "a"})

    assert {file: file.lstat() for file in output.path.parent.rglob("*")} == before


def test_a_folder_with_hidden_files_only_is_as_good_as_empty(output):
    output.path.mkdir()
    (output.path / ".DS_Store").write_text("")

    output.claim({"images": "a"})

    assert output.settings() == {"images": "a"}


def test_a_lock_is_held_by_one_process_and_free_afterwards(tmp_path):
    lock = tmp_path / "folder" / ".lock"
    refused = pytest.raises(UserError, match=r"another process works in .*folder at the moment")
    with exclusively(lock), refused, exclusively(lock):
        raise AssertionError("two hold it")

    with exclusively(lock):
        pass


def test_an_error_inside_is_not_taken_for_a_lock(tmp_path):
    with pytest.raises(ZeroDivisionError), exclusively(tmp_path / ".lock"):
        1 / 0  # noqa: B018


HOLDER = """
import multiprocessing, os, sys, time
from pathlib import Path
from h2aseg_nnunet.petct.files import exclusively

def linger():
    time.sleep(60)

if __name__ == "__main__":
    with exclusively(Path(sys.argv[1])):
        child = multiprocessing.get_context(sys.argv[2]).Process(target=linger)
        child.start()
        print(child.pid, flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_killed_holder_lets_go_although_its_orphan_lives_on(tmp_path, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    script = tmp_path / "holder.py"
    script.write_text(HOLDER)
    with subprocess.Popen([sys.executable, script, tmp_path / ".lock", method], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        orphan = int(holder.stdout.readline())
        try:
            with pytest.raises(UserError), exclusively(tmp_path / ".lock"):
                pass
            holder.kill()
            holder.wait()
            os.kill(orphan, 0)  # it lives
            for _ in range(50):
                try:
                    with exclusively(tmp_path / ".lock"):
                        return
                except UserError:
                    time.sleep(0.1)
            raise AssertionError("the orphan holds the lock")
        finally:
            os.kill(orphan, signal.SIGKILL)
