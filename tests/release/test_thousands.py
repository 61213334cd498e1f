"""2,000 small studies through check, evaluate and report on a cluster of two worker processes."""

import argparse
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from distributed import LocalCluster

from h2aseg_nnunet.cli import main
from h2aseg_nnunet.petct.cluster.connect import workers_of
from h2aseg_nnunet.petct.parallel import in_parallel
from tests.release.browser import page_after
from tests.synthetic import Tissue, ball, paint, write_image

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]
NUM_CASES = int(os.environ.get("H2ASEG_TEST_CASES", 2000))
SHAPE, SPACING_MM = (14, 12, 12), 5.0
LARGEST_OVERHEAD_MS = 50


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    """Lesions of several sizes, and predictions that miss a part of them."""
    root = tmp_path_factory.mktemp("cohort")
    rng = np.random.default_rng(0)
    body = ball(SHAPE, (7, 6, 6), 5.5)
    for number in range(NUM_CASES):
        name, center, radius = f"case_{number:04d}", rng.uniform(5, 7, 3), rng.uniform(1.2, 3)
        lesion = ball(SHAPE, center, radius)
        patient = paint(SHAPE, Tissue(body, hu=40, suv=1), Tissue(lesion, hu=40, suv=8, label=1))
        ct, pet = (image + rng.normal(0, 0.1, SHAPE) for image in (patient.ct, patient.pet))
        write_image(root / "images" / f"{name}_0000.nii.gz", ct.astype(np.int16), SPACING_MM)
        write_image(root / "images" / f"{name}_0001.nii.gz", abs(pet).astype(np.float32), SPACING_MM)
        write_image(root / "labels" / f"{name}.nii.gz", patient.label, SPACING_MM)
        missed = ball(SHAPE, center + rng.uniform(-2, 2, 3), radius)
        write_image(root / "predictions" / f"{name}.nii.gz", patient.label * missed, SPACING_MM)
    content = {"channel_names": {"0": "CT", "1": "PET"}, "labels": {"background": 0, "tumor": 1}}
    (root / "predictions" / "dataset.json").write_text(json.dumps(content | {"file_ending": ".nii.gz"}))
    return root


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


def resident_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


@contextmanager
def measured(what: str) -> Iterator[None]:
    """Print how long it takes, and how much memory this process, the driver, has in its second and its last quarter."""
    memory, ended = [], threading.Event()

    def watch() -> None:
        while not ended.wait(0.5):
            memory.append(resident_mb())

    thread, began = threading.Thread(target=watch), time.monotonic()
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    seconds, quarter = time.monotonic() - began, max(1, len(memory) // 4)
    early, late = np.median(memory[quarter : 2 * quarter]), np.median(memory[-quarter:])
    print(
        f"\n{what}: {seconds:.0f} s, {seconds / NUM_CASES * 1000:.1f} ms per case; driver {early:.0f} -> {late:.0f} MB"
    )
    assert late - early < 100


def nothing(case: int) -> int:
    return case


def test_handing_out_a_case_costs_milliseconds(address):
    """Of this process's own time, which other programs do not lengthen; `measured` prints the clock's."""
    with measured("handing out"), workers_of(argparse.Namespace(scheduler=address)):
        began = time.process_time()
        assert sum(1 for _ in in_parallel(nothing, range(NUM_CASES), 1)) == NUM_CASES
        overhead_ms = (time.process_time() - began) / NUM_CASES * 1000
    print(f"{overhead_ms:.1f} ms of the driver's own time per case")
    assert overhead_ms < LARGEST_OVERHEAD_MS


def test_check(cohort, address, tmp_path):
    description = cohort / "predictions" / "dataset.json"
    with measured("check"):
        main(
            [
                "check",
                "-i",
                str(cohort / "images"),
                "--dataset-json",
                str(description),
                *to(address, tmp_path / "c.json"),
            ]
        )
    assert json.loads((tmp_path / "c.json").read_text())["cases"] == NUM_CASES


def test_evaluate(cohort, address, tmp_path):
    folders = ["-r", str(cohort / "labels"), "-p", str(cohort / "predictions"), "--metrics", "autopet"]
    with measured("evaluate"):
        assert main(["evaluate", *folders, "-o", str(tmp_path / "values.json"), "--scheduler", address]) == 0
    assert len(json.loads((tmp_path / "values.json").read_text())["cases"]) == NUM_CASES


def test_report_and_its_page_in_a_browser(cohort, address, tmp_path):
    folders = ["-i", str(cohort / "images"), "-p", str(cohort / "predictions"), "-r", str(cohort / "labels")]
    with measured("report"):
        assert main(["report", *folders, "-o", str(tmp_path / "report"), "--scheduler", address]) == 0

    page = tmp_path / "report" / "index.html"
    click = 'document.querySelectorAll("table.sortable th[scope=col] [role=button]")[1].click();'
    worst_first = dice_in(page_after(page, click, tmp_path / "profile"))
    best_first = dice_in(page_after(page, click + click, tmp_path / "profile"))

    assert len(worst_first) == NUM_CASES
    assert worst_first == sorted(worst_first) and best_first == worst_first[::-1]
    assert worst_first[0] < worst_first[-1]


def dice_in(page: str) -> list[float]:
    """The second column, row by row."""
    rows = re.findall(r'<tr><th scope="row">.*?</th>\s*<td[^>]*data-value="([^"]*)"', page, re.DOTALL)
    return [float(value) for value in rows]


def to(address: str, file: Path) -> list[str]:
    return ["--json", str(file), "--scheduler", address]
