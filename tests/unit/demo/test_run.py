import json
import os
import signal
import subprocess
import sys
import time

import pytest

from h2aseg_nnunet.demo.run import Layout, _once, _run, run_demo
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


def test_a_failing_command_names_its_log(tmp_path):
    (tmp_path / "logs").mkdir()

    with pytest.raises(UserError, match=r"nnUNetv2_train failed \(exit code \d+\).*nnUNetv2_train.log"):
        _run(Layout(tmp_path), "nnUNetv2_train 901")

    assert "usage" in (tmp_path / "logs" / "nnUNetv2_train.log").read_text()


@pytest.mark.slow
def test_the_demo_resumes_after_a_kill_and_beats_the_threshold(tmp_path):
    """The README's command, killed during training and called again."""
    folder = tmp_path / "demo"
    command = [sys.executable, "-m", "h2aseg_nnunet.cli", "demo", "-o", str(folder), "-device", "cpu"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("nnUNet_")}
    fold = Layout(folder).model / "fold_0"
    started = time.monotonic()
    with subprocess.Popen(command, env=environment, start_new_session=True) as process:
        while not (fold / "checkpoint_latest.pth").exists():
            assert process.poll() is None, "the demo ended before its first checkpoint"
            time.sleep(1)
        os.killpg(process.pid, signal.SIGKILL)
    first_run_seconds = time.monotonic() - started

    subprocess.run(command, env=environment, check=True)

    results = json.loads((folder / "results.json").read_text())
    assert results["h2aseg_dice"] >= 0.6
    assert results["h2aseg_dice"] >= results["threshold_dice"] + 0.15
    assert (folder / "mip.png").stat().st_size > 10_000
    log = "".join(file.read_text() for file in sorted(fold.glob("training_log_*.txt")))
    assert log.count("Epoch 0") == 1, "training started again instead of going on"
    assert (fold / "checkpoint_final.pth").exists()

    started = time.monotonic()
    subprocess.run(command, env=environment, check=True)
    assert time.monotonic() - started < first_run_seconds, "finished steps were done again"
    assert json.loads((folder / "results.json").read_text()) == results
