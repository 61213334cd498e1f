"""Conversions as processes that are killed, and their datasets in nnU-Net's own check."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

from h2aseg_nnunet.petct.images.reading import read_image
from tests.unit.petct.convert.layouts import CT_GRID, PET_GRID, arrange, convert, dataset
from tests.unit.petct.convert.synthetic_studies import POINT_MM, grid_around


def test_nnunet_finds_no_fault(nnunet, capsys):
    command = arrange("pairs", nnunet / "source", CT_GRID, PET_GRID, patients=("a", "b"))
    assert convert(*command) == 0
    capsys.readouterr()

    verify_dataset_integrity(str(dataset(nnunet)), num_processes=1)

    output = capsys.readouterr().out
    assert "verify_dataset_integrity Done" in output
    assert "mismatch" not in output.lower() and "WARNING" not in output


def test_a_killed_conversion_goes_on_where_it_ended(nnunet):
    patients = [f"p{number}" for number in range(6)]
    ct_grid = grid_around(POINT_MM, (90, 90, 60), (1.0, 1.0, 1.0))
    command = arrange("hecktor 2022", nnunet / "source", ct_grid, PET_GRID, patients=patients)
    arguments = [sys.executable, "-m", "h2aseg_nnunet.cli", "convert", *map(str, command), "-np", "2"]
    folder = nnunet / "nnUNet_raw" / "Dataset007_HECKTOR2022"

    process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    workers = []
    while len(done := finished_cases(folder)) < 2:
        assert process.poll() is None, "the conversion was over before it could be killed"
        workers = children(process.pid) or workers
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()

    await_end_of(workers)
    done = finished_cases(folder)
    assert 2 <= len(done) < 6
    assert not (folder / "dataset.json").exists()
    for file in folder.glob("[il]*/[!.]*"):
        read_image(file)  # whole, whether or not its case was finished
    times = {file: file.stat().st_mtime_ns for case in done for file in folder.glob(f"*Tr/{case}*")}

    assert convert(*command) == 0

    assert len(times) == 3 * len(done)
    assert {file: file.stat().st_mtime_ns for file in times} == times
    assert json.loads((folder / "dataset.json").read_text())["numTraining"] == 6
    assert len(list(folder.rglob("*.nii.gz"))) == 18
    interrupted = {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*.nii.gz")}
    shutil.rmtree(folder)
    assert convert(*command) == 0
    assert {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*.nii.gz")} == interrupted


def finished_cases(folder: Path) -> list[str]:
    """In their place, and on record or with a record of their own that the next run takes up."""
    state = folder / "conversion.json"
    recorded = json.loads(state.read_text())["cases"] if state.exists() else {}
    known = {*recorded, *(file.stem for file in (folder / ".converting").glob("[!.]*.json"))}
    return sorted(case for case in known if len(list(folder.glob(f"*Tr/{case}*"))) == 3)


def children(pid: int) -> list[int]:
    file = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in file.read_text().split()] if file.exists() else []


def await_end_of(processes: list[int]) -> None:
    """Workers end with the process that started them."""
    for _ in range(1000):
        if not any(Path(f"/proc/{process}/cmdline").exists() for process in processes):
            return
        time.sleep(0.01)
    raise AssertionError(f"workers {processes} outlive the command")
