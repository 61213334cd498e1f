"""h2aseg plan, then nnU-Net's own preprocessing and training with its file, for a trainer of the user."""

import os
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch

from h2aseg_nnunet.demo.phantom import write_dataset

TRAINER = """
from h2aseg_nnunet.trainer.h2aseg_trainer import nnUNetTrainerH2ASeg_L


class nnUNetTrainerH2ASegBrief(nnUNetTrainerH2ASeg_L):
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 1, 3, 1
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("planned")
    write_dataset(folder / "nnUNet_raw" / "Dataset931_Planned", num_training=5, num_test=0, seed=0)
    (folder / "trainers").mkdir()
    (folder / "trainers" / "brief.py").write_text(TRAINER)
    command(folder, "h2aseg plan -d 931 -gpu_memory_target 0.4 -tr nnUNetTrainerH2ASegBrief")
    command(folder, "nnUNetv2_preprocess -d 931 -plans_name nnUNetH2ASegBriefPlans_0.4G -c 3d_fullres 2d -np 2 2")
    return folder


def command(folder: Path, line: str) -> None:
    environment = os.environ | {
        name: str(folder / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    }
    environment |= {"nnUNet_extTrainer": str(folder / "trainers"), "nnUNet_def_n_proc": "2", "nnUNet_n_proc_DA": "1"}
    name, *options = line.split()
    subprocess.run([Path(sysconfig.get_path("scripts"), name), *options], env=environment, cwd=folder, check=True)


@pytest.mark.parametrize("configuration", ["3d_fullres", "2d"])
def test_a_planned_network_trains(workspace, configuration):
    plans = "nnUNetH2ASegBriefPlans_0.4G"
    command(workspace, f"nnUNetv2_train 931 {configuration} 0 -tr nnUNetTrainerH2ASegBrief -p {plans} -device cpu")

    model = workspace / f"nnUNet_results/Dataset931_Planned/nnUNetTrainerH2ASegBrief__{plans}__{configuration}/fold_0"
    checkpoint = torch.load(model / "checkpoint_final.pth", weights_only=False)
    assert np.isfinite(checkpoint["logging"]["train_losses"]).all()
    assert checkpoint["network_weights"]["encoder.stages.0.ct_block.conv1.weight"].shape[0] == 16  # half of 32
    assert (model / "validation" / "summary.json").exists()
