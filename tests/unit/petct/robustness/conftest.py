"""Models that can be worked out by hand, and boxes of tumor on the model's own grid: nothing is resampled."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from tests import synthetic
from tests.models import CONFIGURATION, SPACING_MM, make_plans, one_thread, registered  # noqa: F401
from tests.plans import DATASET_JSON
from tests.synthetic import Patient

BOX = (slice(6, 10), slice(5, 11), slice(8, 14))  # z, y, x: 4 * 6 * 6 = 144 voxels of 8 mm3
BOX_ML = 144 * 8 / 1000
SHAPE = (14, 16, 22)


class WeightedSum(torch.nn.Module):
    """Tumor is where the weighted sum of the channels exceeds 1.5."""

    def __init__(self, weights: Sequence[float] = (0, 0)):
        super().__init__()
        self.weights = torch.nn.Parameter(torch.tensor(weights, dtype=torch.float32))

    def forward(self, x):
        tumor = torch.einsum("bc...,c->b...", x, self.weights) - 1.5
        return torch.stack([torch.zeros_like(tumor), tumor], 1)


@pytest.fixture
def make_model(tmp_path, monkeypatch):
    """Weights of (CT, PET), of each fold -> model folder of nnU-Net's own trainer."""
    monkeypatch.setattr(nnUNetTrainer, "build_network_architecture", staticmethod(build))

    def make(*folds: Sequence[float]) -> Path:
        folder = tmp_path / "results" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
        for fold, weights in enumerate(folds):
            (folder / f"fold_{fold}").mkdir(parents=True)
            checkpoint = {
                "network_weights": WeightedSum(weights).state_dict(),
                "trainer_name": "nnUNetTrainer",
                "init_args": {"configuration": CONFIGURATION},
                "inference_allowed_mirroring_axes": (0, 1, 2),
            }
            torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
        (folder / "plans.json").write_text(json.dumps(make_plans()))
        (folder / "dataset.json").write_text(json.dumps(DATASET_JSON))
        return folder

    return make


def build(plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision=True):
    return WeightedSum()


def write_case(folder: Path, name: str, lesion: bool = True) -> None:
    """CT and PET of 3 in the box and 0.5 elsewhere, and the box as reference."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[BOX] = lesion
    image = np.where(mask, 3.0, 0.5).astype(np.float32)
    synthetic.write_case(folder, name, Patient(image, image, mask), split="Ts", spacing_mm=SPACING_MM)
