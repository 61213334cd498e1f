"""A whole-body PET/CT, 400 x 400 x 326 voxels as AutoPET's, on a machine of ordinary memory."""

import json
import os
import subprocess
import sys
import sysconfig
import time
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from h2aseg_nnunet import nnUNetTrainerH2ASeg
from tests.plans import DATASET_JSON, PLANS
from tests.synthetic import Tissue, paint, read_array, write_image

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc"),
]

SHAPE = (326, 400, 400)
SPACING_MM = 4.0
PATCH = (112, 160, 160)
FEATURES = [16, 32, 64, 128]  # of the plan: half of nnU-Net's, so that the test takes minutes
PEAK_GIB = 5.0
DATASET = DATASET_JSON | {"file_ending": ".nii"}


def write_model(folder: Path) -> None:
    """A model folder as training leaves it, with fresh weights."""
    torch.manual_seed(0)
    plans = deepcopy(PLANS)
    configuration = plans["configurations"]["3d_fullres"]
    configuration |= {"patch_size": PATCH, "spacing": [SPACING_MM] * 3}
    configuration["architecture"]["arch_kwargs"]["features_per_stage"] = FEATURES
    manager = PlansManager(plans)
    network = nnUNetTrainerH2ASeg.build_network_architecture(manager, manager.get_configuration("3d_fullres"), 2, 2)
    checkpoint = {
        "network_weights": network.state_dict(),
        "trainer_name": nnUNetTrainerH2ASeg.__name__,
        "init_args": {"configuration": "3d_fullres"},
        "inference_allowed_mirroring_axes": None,
    }
    (folder / "fold_0").mkdir(parents=True)
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(DATASET))


def write_patient(folder: Path) -> None:
    z, y, x = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in SHAPE)]
    body = ((y / 0.6) ** 2 + (x / 0.8) ** 2 <= 1) & (np.abs(z) <= 0.95)
    tumor = (z - 0.2) ** 2 + y**2 + (x - 0.2) ** 2 <= 0.01
    patient = paint(SHAPE, Tissue(body, hu=20, suv=1), Tissue(tumor, hu=60, suv=9))
    write_image(folder / "patient_0000.nii", patient.ct, SPACING_MM)
    write_image(folder / "patient_0001.nii", patient.pet, SPACING_MM)


def peak_memory_gib(process: subprocess.Popen) -> float:
    """Waits for a process that leads its own session; returns the largest sum over its processes, twice a second.

    Memory that processes share counts only once (proportional set size).
    """
    peak_kib = 0
    while process.poll() is None:
        peak_kib = max(peak_kib, sum(map(proportional_kib, session_processes(process.pid))))
        time.sleep(0.5)
    return peak_kib / 2**20


def session_processes(session: int) -> list[int]:
    def is_member(pid: int) -> bool:
        try:
            return os.getsid(pid) == session
        except OSError:
            return False

    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and is_member(int(entry))]


def proportional_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def test_a_whole_body_volume_is_predicted_within_the_stated_memory(tmp_path):
    write_model(tmp_path / "model")
    write_patient(tmp_path / "images")
    arguments = ["-i", tmp_path / "images", "-o", tmp_path / "out", "-m", tmp_path / "model"]
    options = ["-f", "0", "-step_size", "1", "-device", "cpu", "-npp", "1", "-nps", "1", "--disable_progress_bar"]
    command = [Path(sysconfig.get_path("scripts")) / "nnUNetv2_predict_from_modelfolder", *arguments, *options]

    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True)
        peak = peak_memory_gib(process)

    print(f"peak memory {peak:.2f} GiB")
    assert process.returncode == 0, (tmp_path / "log").read_text()
    labels = read_array(tmp_path / "out" / "patient.nii")
    assert labels.shape == SHAPE
    assert set(np.unique(labels)) <= {0, 1}
    assert peak < PEAK_GIB, f"{peak:.1f} GiB"
