"""Hundreds of iterations in half precision: float16 with loss scaling as nnU-Net trains on GPUs, and bfloat16."""

import numpy as np
import pytest
import torch

from h2aseg_nnunet import nnUNetTrainerH2ASeg
from tests.integration.precision import ON_CUDA, BFloat16, Float16, FullPrecision


def make_trainer(workspace, trainer_class: type[nnUNetTrainerH2ASeg], device: str, n_stages: int, extent: int):
    """A trainer for nnU-Net's usual widths on cubic patches."""
    dataset = workspace.dataset("binary")
    plans = dataset.plans() | {"continue_training": False}
    configuration = plans["configurations"]["3d_fullres"]
    configuration["patch_size"] = [extent] * 3
    configuration["architecture"]["arch_kwargs"] |= {
        "n_stages": n_stages,
        "features_per_stage": [32, 64, 128, 256, 320][:n_stages],
        "kernel_sizes": [[3, 3, 3]] * n_stages,
        "strides": [[1, 1, 1]] + [[2, 2, 2]] * (n_stages - 1),
    }
    trainer = trainer_class(plans, "3d_fullres", 0, dataset.description, device=torch.device(device))
    torch.manual_seed(0)
    np.random.seed(0)
    trainer.initialize()
    return trainer


def train(trainer: nnUNetTrainerH2ASeg, iterations: int, every: int) -> list[float]:
    """Losses of nnU-Net's training steps on augmented patches; in one of `every` the first image has no PET."""
    batches, _ = trainer.get_dataloaders()
    losses = []
    for iteration in range(iterations):
        batch = next(batches)
        if iteration % every == every - 1:
            batch["data"][0, 1] = 0
        losses.append(float(trainer.train_step(batch)["loss"]))
    return losses


@pytest.mark.parametrize(
    ("trainer_class", "device", "iterations", "every", "n_stages", "extent"),
    [
        pytest.param(Float16, "cpu", 20, 1, 3, 12),
        pytest.param(Float16, "cpu", 300, 10, 3, 12, marks=pytest.mark.slow),
        pytest.param(
            nnUNetTrainerH2ASeg,
            "cuda",
            *(400, 10, 5, 64),
            marks=ON_CUDA,
        ),
    ],
)
def test_float16_trains_and_keeps_its_loss_scale(workspace, trainer_class, device, iterations, every, n_stages, extent):
    with workspace.environment(nnUNet_n_proc_DA="0"):
        trainer = make_trainer(workspace, trainer_class, device, n_stages, extent)
        losses = train(trainer, iterations, every)

    assert np.isfinite(losses).all()
    assert np.mean(losses[-iterations // 5 :]) < np.mean(losses[: iterations // 5]) - 0.1
    assert all(parameter.isfinite().all() for parameter in trainer.network.parameters())
    assert trainer.grad_scaler.get_scale() >= 16  # it starts with 65536; each step that overflows halves it


@pytest.mark.parametrize("iterations", [30, pytest.param(300, marks=pytest.mark.slow)])
def test_bfloat16_trains_as_float32_does(workspace, iterations):
    losses = {}
    with workspace.environment(nnUNet_n_proc_DA="0"):
        for trainer_class in (FullPrecision, BFloat16):
            trainer = make_trainer(workspace, trainer_class, "cpu", n_stages=3, extent=12)
            losses[trainer_class] = train(trainer, iterations, every=10)

    expected, given = (np.array(losses[trainer_class]) for trainer_class in (FullPrecision, BFloat16))
    assert np.isfinite(given).all()
    assert given[-iterations // 5 :].mean() < given[: iterations // 5].mean() - 0.1
    np.testing.assert_allclose(given[:5], expected[:5], atol=0.02)  # the same patches; later they drift apart
    assert abs(given[-iterations // 5 :].mean() - expected[-iterations // 5 :].mean()) < 0.1
