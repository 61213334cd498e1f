"""Small models in nnU-Net's layout, trained in seconds where a test needs it, and a phantom on a grid of its own."""

import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch.nn import functional as F

from h2aseg_nnunet import register
from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg
from tests.locations import DATA

PLANS = json.loads((DATA / "nnUNetPlans.json").read_text())  # nnU-Net's planner wrote it
DATASET = {
    "channel_names": {"0": "CT", "1": "PET"},
    "labels": {"background": 0, "tumor": 1},
    "numTraining": 20,
    "file_ending": ".nii.gz",
}
PATCH = 16
SPACING_MM = 2.0  # of the model
CENTRE_MM = (-10.0, 24.0, 130.0)  # of the phantom's tumor
RADIUS_MM = 9.0
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


def make_network(plans: dict, dataset: dict = DATASET, num_input_channels: int = 2, trainer=nnUNetTrainerH2ASeg):
    manager = PlansManager(plans)
    heads = manager.get_label_manager(dataset).num_segmentation_heads
    configuration = manager.get_configuration(CONFIGURATION)
    torch.manual_seed(0)
    network = trainer.build_network_architecture(manager, configuration, num_input_channels, heads)
    network.decoder.seg_layers.set_regions(manager.get_label_manager(dataset).has_regions)
    return network


def save_model(
    folder: Path, network, plans: dict, dataset: dict = DATASET, trainer: str = "nnUNetTrainerH2ASeg"
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


def write_phantom(folder: Path, carrier: int | None = None, name: str = "case") -> Path:
    """CT and PET with the tumor's ball in one modality, or both, and a false one in the other; returns FOLDER/case.

    Voxels of 2 x 2.5 x 3 mm, axes to the left, to the front and to the head; zeros around.
    """
    size, spacing = (26, 22, 18), (2.0, 2.5, 3.0)
    image = SimpleITK.Image(size, SimpleITK.sitkFloat32)
    image.SetSpacing(spacing)
    image.SetOrigin((-30.0, 50.0, 100.0))
    image.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, 1))
    index = np.stack(np.meshgrid(*[np.arange(n) for n in size[::-1]], indexing="ij"), -1)[..., ::-1]
    points = np.array(image.GetOrigin()) + index * spacing * np.array([1, -1, 1])
    false_centre = np.add(CENTRE_MM, (6, -14, -14))
    rng = np.random.default_rng(1)
    folder.mkdir(parents=True, exist_ok=True)
    for channel in range(2):
        tumor = np.linalg.norm(points - CENTRE_MM, axis=-1) < RADIUS_MM
        other = np.linalg.norm(points - false_centre, axis=-1) < 7
        ball = tumor if carrier is None or channel == carrier else other
        array = rng.normal(0, 0.2, ball.shape) + 3.0 * ball
        array[:, :2] = array[:, :, -3:] = 0  # cut off by nnU-Net
        volume = SimpleITK.GetImageFromArray(array.astype(np.float32))
        volume.CopyInformation(image)
        SimpleITK.WriteImage(volume, str(folder / f"{name}_{channel:04d}.nii.gz"))
    return folder / name


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


@pytest.fixture(scope="session")
def trained_model(tmp_path_factory):
    """Model folders by the modality that carries the tumor, each trained once."""
    folders: dict[int, Path] = {}

    def get(carrier: int) -> Path:
        if carrier not in folders:
            torch.set_num_threads(1)
            plans = make_plans()
            network = make_network(plans)
            learn(network, carrier)
            folders[carrier] = save_model(tmp_path_factory.mktemp("models") / f"model{carrier}", network, plans)
        return folders[carrier]

    return get
