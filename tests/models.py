"""Small models in nnU-Net's layout, H2ASeg of three stages, and fixtures for tests that run them."""

import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch.nn import functional as F

from h2aseg_nnunet import register
from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg
from tests.plans import DATASET_JSON, PLANS

PATCH = 16
SPACING_MM = 2.0
CONFIGURATION = "3d_fullres"


def make_plans(dimension: int = 3, patch: int = PATCH, **changes) -> dict:
    """Three stages with MCSA and global attention; images are taken as they are, at 2 mm."""
    plans = deepcopy(PLANS) | changes
    configuration = plans["configurations"][CONFIGURATION]
    configuration |= {
        "patch_size": [patch] * dimension,
        "spacing": [SPACING_MM] * dimension,
        "normalization_schemes": ["NoNormalization"] * 2,
    }
    configuration["architecture"] = {
        "network_class_name": "h2aseg_nnunet.network.h2aseg.H2ASeg",
        "arch_kwargs": {
            "n_stages": 3,
            "features_per_stage": [4, 8, 8],
            "conv_op": f"torch.nn.Conv{dimension}d",
            "kernel_sizes": 3,
            "strides": 2,
            "interactions": ["none", "mcsa", "global"],
            "window_size": [4] * dimension,
        },
        "_kw_requires_import": ["conv_op"],
    }
    return plans


def make_network(plans: dict, dataset: dict = DATASET_JSON, num_input_channels: int = 2, trainer=nnUNetTrainerH2ASeg):
    manager = PlansManager(plans)
    heads = manager.get_label_manager(dataset).num_segmentation_heads
    configuration = manager.get_configuration(CONFIGURATION)
    torch.manual_seed(0)
    network = trainer.build_network_architecture(manager, configuration, num_input_channels, heads)
    network.decoder.seg_layers.set_regions(manager.get_label_manager(dataset).has_regions)
    return network


def save_model(
    folder: Path, network, plans: dict, dataset: dict = DATASET_JSON, trainer: str = "nnUNetTrainerH2ASeg"
) -> Path:
    """What nnUNetv2_train leaves in its results folder, as far as nnUNetv2_predict reads it."""
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    checkpoint = {
        "network_weights": network.state_dict(),
        "trainer_name": trainer,
        "init_args": {"configuration": CONFIGURATION},
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
    return folder


def learn(network, carrier: int, iterations: int = 60) -> None:
    """Teach a network that the ball in one modality is the tumor, and the ball in the other is not."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(PATCH)] * 3, indexing="ij"), -1)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    network.train()
    for _ in range(iterations):
        image = rng.normal(0, 0.2, (2, PATCH, PATCH, PATCH))
        balls = [np.linalg.norm(grid - rng.uniform(3, 13, 3), axis=-1) < rng.uniform(2.5, 5) for _ in range(2)]
        for channel, ball in enumerate(balls):
            image[channel] += 3 * ball
        target = torch.from_numpy(balls[carrier])[None, None].float()
        loss = 0.0
        for logits in network(torch.from_numpy(image)[None].float()):
            here = F.interpolate(target, size=logits.shape[2:], mode="trilinear")[:, 0]
            loss = loss + F.cross_entropy(logits, (here > 0.5).long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.fixture(autouse=True)
def one_thread():
    """More of them make tiny tensors slow."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def registered():
    register()
