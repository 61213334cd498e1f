import json

import pytest

from h2aseg_nnunet.demo.run import Layout, _once, run_demo
from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.files import exclusively


def test_a_folder_with_other_settings_is_refused(tmp_path):
    (tmp_path / "demo.json").write_text(json.dumps({"seed": 0, "num_training": 15, "num_test": 4}))

    with pytest.raises(UserError, match=r"holds a demo with other settings \(seed 0, now 1\): choose another folder"):
        run_demo(tmp_path, seed=1, device="cpu")


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")

    with pytest.raises(UserError, match="exists and is not a demo"):
        run_demo(tmp_path, device="cpu")

    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_second_demo_in_the_same_folder_is_refused_while_the_first_runs(tmp_path):
    (tmp_path / "demo.json").write_text(json.dumps({"seed": 0, "num_training": 15, "num_test": 4}))

    with exclusively(tmp_path / ".lock"), pytest.raises(UserError, match="another process works in"):
        run_demo(tmp_path, device="cpu")


def test_a_finished_step_is_not_done_again_but_a_failed_one_is(tmp_path):
    layout, calls = Layout(tmp_path), []

    def fail():
        calls.append("failed")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        _once(layout, "train", fail)
    _once(layout, "train", lambda: calls.append("done"))
    _once(layout, "train", lambda: calls.append("again"))

    assert calls == ["failed", "done"]
