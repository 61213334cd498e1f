import json
from copy import deepcopy

import pytest
import torch

from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg
from tests.locations import DATA

PLANS = json.loads((DATA / "nnUNetPlans.json").read_text())  # nnU-Net's planner wrote it
DATASET = {
    "channel_names": {"0": "CT", "1": "PET"},
    "labels": {"background": 0, "tumor": 1},
    "numTraining": 20,
    "file_ending": ".nii.gz",
}


@pytest.fixture
def plans():
    return deepcopy(PLANS)


@pytest.fixture
def make_trainer(plans, tmp_path, monkeypatch):
    """Makes trainers of `plans`, which a test may change first."""
    for folder in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(folder, str(tmp_path / folder))

    def make(cls=nnUNetTrainerH2ASeg, dataset=DATASET, configuration="3d_fullres", device="cpu"):
        identifier = plans["configurations"][configuration]["data_identifier"]
        preprocessed = tmp_path / "nnUNet_preprocessed" / plans["dataset_name"] / identifier
        preprocessed.mkdir(parents=True, exist_ok=True)
        (preprocessed / "case.b2nd").touch()  # tells nnU-Net which storage the dataset has
        settings = deepcopy(plans) | {"continue_training": False}
        return cls(settings, configuration, 0, dataset, device=torch.device(device))

    return make
