import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform

from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg

PLANS = json.loads((Path(__file__).parents[1] / "data" / "nnUNetPlans.json").read_text())  # nnU-Net's planner wrote it
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


@pytest.fixture
def make_batch():
    """Noise, with the tumour where CT and PET together are bright; targets as nnU-Net's augmentation makes them."""

    def make(trainer) -> dict:
        image = torch.randn(1, 2, *trainer.configuration_manager.patch_size)
        downsample = DownsampleSegForDSTransform(ds_scales=trainer._get_deep_supervision_scales())
        targets = downsample(segmentation=(image[0].sum(0, keepdim=True) > 1.5).float())["segmentation"]
        return {"data": image, "target": [target[None] for target in targets]}

    return make
