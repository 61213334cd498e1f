import json
import os
import subprocess
import sys

import pytest
import torch

from benchmarks import run
from benchmarks.gpu import TRAINERS
from benchmarks.networks import NETWORKS
from benchmarks.plot import draw
from tests.locations import REPOSITORY


@pytest.fixture(autouse=True)
def threads_are_restored():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def measure(monkeypatch, output, *options: str) -> dict:
    settings = ["--quick", "--rounds", "1", "--threads", "1", "-o", str(output)]
    monkeypatch.setattr(sys, "argv", ["benchmarks.run", *settings, *options])
    run.main()
    return json.loads(output.read_text())


def test_parts_are_added_to_the_results_of_others(monkeypatch, tmp_path, capsys):
    measure(monkeypatch, tmp_path / "results.json", "--only", "parameters")
    results = measure(monkeypatch, tmp_path / "results.json", "--only", "saved")

    assert results.keys() == {"parameters", "saved"}
    assert results["saved"]["environment"]["quick"]
    saved = results["saved"]["plain-16"]
    assert saved["total"] == sum(size for module, size in saved.items() if module != "total")
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| plain-16 |"))
    assert "5,648,760" in row


@pytest.mark.slow
def test_every_part_is_measured_and_drawn(monkeypatch, tmp_path):
    monkeypatch.setattr(run, "NETWORKS", {name: NETWORKS[name] for name in ("H2ASeg", "plain-16")})
    parts = [name for name in run.parts_of(run.QUICK_PATCH, 1, True) if name != "gpu"]

    results = measure(monkeypatch, tmp_path / "results.json", "--only", *parts)
    draw(results, tmp_path / "performance.png")

    for part in ("forward", "step"):
        assert results[part]["H2ASeg"]["median"] > 0 < results[part]["plain-16"]["median"]
    assert results["peak"]["plain-16"]["resident"] > results["saved"]["plain-16"]["total"]
    for run_ in ("forward", "step"):
        assert results["floor"][run_]["convolution"]["flop"] > 0
    assert results["scaling"]["batch"]["plain-16"]["growth"]["saved_bytes"] == pytest.approx(1, abs=0.05)
    assert (tmp_path / "performance.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_check_of_a_card_runs_through_on_a_cpu(tmp_path):
    command = ["bash", str(REPOSITORY / "benchmarks" / "gpu_check.sh"), str(tmp_path), "--quick"]
    subprocess.run(command, check=True, env={**os.environ, "PYTHON": sys.executable})

    results = json.loads((tmp_path / "gpu.json").read_text())
    for compiled in ("compile on", "compile off"):  # nnU-Net does not compile on a CPU
        assert results[compiled].keys() == TRAINERS.keys()
        assert all(costs["step_s"]["median"] > 0 for costs in results[compiled].values())
    assert all(costs["sliding_window_s"]["median"] > 0 for costs in results["compile off"].values())
    (planned,) = results["planned"].values()
    assert 0 < planned["estimated_bytes"] <= 0.2 * 2**30
