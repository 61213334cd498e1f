"""`h2aseg demo`, as the README has it."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from h2aseg_nnunet.demo.run import Layout, _run
from h2aseg_nnunet.errors import UserError


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


def test_a_failing_command_names_its_log(tmp_path):
    (tmp_path / "logs").mkdir()

    with pytest.raises(UserError, match=r"nnUNetv2_train failed \(exit code \d+\).*nnUNetv2_train.log"):
        _run(Layout(tmp_path), "nnUNetv2_train 901")

    assert "usage" in (tmp_path / "logs" / "nnUNetv2_train.log").read_text()
