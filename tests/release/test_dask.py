"""A real scheduler and real workers, which are killed: nothing is lost, and nothing finished is done twice."""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from h2aseg_nnunet.petct.cluster.connect import workers_of
from h2aseg_nnunet.petct.cluster.engine import LOST
from h2aseg_nnunet.petct.parallel import in_parallel
from tests.release.dask_cluster import dask_cluster, until
from tests.unit.petct.report.conftest import Folders

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


class Case(NamedTuple):
    """A case that leaves a line with its worker when it starts, and another one when it is done."""

    name: str
    folder: Path
    seconds: float = 0.0


def work(case: Case) -> int:
    with (case.folder / "starts").open("a") as file:
        file.write(f"{case.name} {os.getpid()}\n")
    if case.name == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    while (case.folder / f"{case.name}.wait").exists():
        time.sleep(0.05)
    time.sleep(case.seconds)
    return os.getpid()


def starts(folder: Path) -> list[list[str]]:
    file = folder / "starts"
    return [line.split() for line in file.read_text().splitlines()] if file.is_file() else []


def on(cluster) -> argparse.Namespace:
    return argparse.Namespace(scheduler=cluster.address)


@pytest.fixture
def cases(tmp_path) -> list[Case]:
    return [Case(f"case_{number}", tmp_path, 0.3) for number in range(8)]


def test_a_worker_killed_in_the_middle_of_a_case_costs_that_case_a_second_start(cases, tmp_path):
    wait = tmp_path / "case_2.wait"
    wait.touch()

    def kill():
        until(lambda: "case_2" in dict(starts(tmp_path)))
        wait.unlink()
        os.kill(int(dict(starts(tmp_path))["case_2"]), signal.SIGKILL)

    with dask_cluster(tmp_path, 2) as cluster, workers_of(on(cluster)):
        threading.Thread(target=kill).start()
        results = list(in_parallel(work, cases, 1))

    assert sorted(case.name for case, _ in results) == [case.name for case in cases]
    counts = Counter(name for name, _ in starts(tmp_path))
    assert counts == {case.name: 1 for case in cases} | {"case_2": 2}


def test_a_case_that_kills_every_worker_is_given_up_after_three_and_the_others_are_done(cases, tmp_path):
    cases.insert(1, Case("deadly", tmp_path))
    with dask_cluster(tmp_path, 2) as cluster, workers_of(on(cluster)):
        results = list(in_parallel(work, cases, 1, lost=lambda case, why: why))

    assert len(results) == 9
    assert [(case.name, result) for case, result in results if isinstance(result, str)] == [("deadly", LOST)]
    counts = Counter(name for name, _ in starts(tmp_path))
    assert counts.pop("deadly") == 3
    assert set(counts.values()) == {1}


def test_with_one_worker_a_deadly_case_does_not_take_its_neighbors_with_it(cases, tmp_path):
    cases.insert(1, Case("deadly", tmp_path))
    with dask_cluster(tmp_path, 1) as cluster, workers_of(on(cluster)):
        results = dict(in_parallel(work, cases, 1, lost=lambda case, why: why))

    assert [case.name for case, result in results.items() if isinstance(result, str)] == ["deadly"]


def test_a_worker_that_joins_late_takes_part(tmp_path):
    cases = [Case(f"case_{number}", tmp_path, 0.5) for number in range(60)]
    with dask_cluster(tmp_path, 1) as cluster, workers_of(on(cluster)):
        results = in_parallel(work, cases, 1)
        done = [next(results)]
        cluster.add_worker()
        done += results

    assert len({process for _, process in done}) == 2
    assert len(done) == 60 == len(starts(tmp_path))


@pytest.fixture
def cohort(tmp_path) -> Folders:
    folders = Folders(tmp_path)
    for number in range(24):
        folders.add(f"case_{number:02d}")
    return folders


def test_after_the_scheduler_was_killed_the_same_command_finishes_and_redoes_nothing(cohort, tmp_path):
    pages = cohort.output / "cases"

    def finished() -> dict[str, int]:
        return {file.name: file.stat().st_mtime_ns for file in pages.glob("case_*.json")}

    with dask_cluster(tmp_path, 2) as cluster:
        command = [sys.executable, "-m", "h2aseg_nnunet.cli", *cohort.with_references("--scheduler", cluster.address)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            until(lambda: len(finished()) >= 4)
            os.kill(cluster.scheduler.pid, signal.SIGKILL)
            _, printed = process.communicate(timeout=90)
        assert process.returncode == 1
        assert "h2aseg report: The scheduler is gone. Start it again and repeat the command" in printed
        time.sleep(5)  # cases that were at work when it happened
        before = finished()
        assert 4 <= len(before) < 24 and not (cohort.output / "index.html").exists()

        cluster.restart_scheduler()
        for _ in range(2):
            cluster.add_worker()
        cluster.wait_for(2)
        subprocess.run(command, check=True)

    after = finished()
    assert len(after) == 24 and {name: after[name] for name in before} == before
    assert (cohort.output / "index.html").is_file()
    assert not [file for file in cohort.output.rglob(".h2aseg-partial-*")]


def test_a_worker_killed_during_a_report_changes_nothing_of_it(cohort, tmp_path):
    subprocess.run([sys.executable, "-m", "h2aseg_nnunet.cli", *cohort.with_references("-np", "1")], check=True)
    expected = contents(cohort.output)
    cohort.output.rename(tmp_path / "expected")

    with dask_cluster(tmp_path, 2) as cluster:
        command = [sys.executable, "-m", "h2aseg_nnunet.cli", *cohort.with_references("--scheduler", cluster.address)]
        with subprocess.Popen(command) as process:
            until(lambda: len(list((cohort.output / "cases").glob("case_*.json"))) >= 3)
            workers = subprocess.run(["pgrep", "-f", "distributed.*spawn|spawn_main"], capture_output=True, text=True)
            ours = [pid for pid in map(int, workers.stdout.split()) if str(tmp_path) == working_folder(pid)]
            os.kill(ours[0], signal.SIGKILL)
            assert process.wait(timeout=300) == 0

    assert contents(cohort.output) == expected


def contents(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def working_folder(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""
