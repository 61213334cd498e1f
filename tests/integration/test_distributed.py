"""Distributed data parallel (nnUNetv2_train -num_gpus): two processes learn what one learns from the joined batch.

nnU-Net's distributed training is written for CUDA. `OnCPU` and `without_cuda` take CUDA out of it (device, gradient
scaler, the wrapper's device_ids, NCCL); all the rest runs in two CPU processes.
"""

import importlib
import json
import os
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from nnunetv2.run import run_training
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg
from tests.integration.precision import ON_CUDA

WORLD_SIZE = 2
STEPS = 2  # the second one fails if a parameter got no gradient in the first


class OnCPU(nnUNetTrainerH2ASeg):
    """With SGD: a bias before a norm has no gradient but rounding, along whose sign AdamW would step."""

    initial_lr = 1e-2
    weight_decay = 3e-5
    deep_supervision = True

    def configure_optimizers(self):
        return nnUNetTrainer.configure_optimizers(self)

    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cpu")):  # noqa: B008
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.device, self.grad_scaler = device, None
        self.enable_deep_supervision = self.deep_supervision


class OnCPUSampleDice(OnCPU):
    batch_dice = False


class OnCPUWithoutDeepSupervision(OnCPU):
    deep_supervision = False


CASES = {  # name: label scheme, trainer
    "classes": ("classes", OnCPU),
    "sample_dice": ("classes", OnCPUSampleDice),
    "regions": ("regions", OnCPU),
    "without_deep_supervision": ("classes", OnCPUWithoutDeepSupervision),
}


def make_trainer(dataset, trainer_class: type[OnCPU]) -> OnCPU:
    plans = dataset.plans() | {"continue_training": False}
    plans["configurations"]["3d_fullres"]["batch_size"] = WORLD_SIZE
    trainer = trainer_class(plans, "3d_fullres", 0, dataset.description)
    trainer.initialize()
    return trainer


def train(trainer: OnCPU, batch: dict) -> tuple[list[dict], dict]:
    """Gradients after each step, as clipped, and the weights after the last one."""
    gradients = []
    for _ in range(STEPS):
        trainer.train_step(batch)
        gradients.append({name: parameter.grad.clone() for name, parameter in trainer.network.named_parameters()})
    return gradients, trainer.network.state_dict()


def without_cuda(folder: Path) -> None:
    """In this process nnU-Net's distributed training runs on the CPU, over gloo."""

    def setup_ddp(rank: int, world_size: int) -> None:
        distributed.init_process_group("gloo", f"file://{folder}/rendezvous", rank=rank, world_size=world_size)

    run_training.setup_ddp = setup_ddp
    importlib.import_module(nnUNetTrainer.__module__).DDP = lambda network, device_ids: DistributedDataParallel(network)
    torch.cuda.set_device = lambda device: None
    torch.set_num_threads(1)


def train_one_rank(rank: int, folder: Path, datasets: dict, variables: dict[str, str]) -> None:
    os.environ.update(variables)
    without_cuda(folder)
    run_training.setup_ddp(rank, WORLD_SIZE)
    for name, (scheme, trainer_class) in CASES.items():
        torch.manual_seed(rank)  # every rank draws other weights; the first one's count
        trainer = make_trainer(datasets[scheme], trainer_class)
        initial = {key: value.clone() for key, value in trainer.network.module.state_dict().items()}
        gradients, weights = train(trainer, part_of(torch.load(folder / f"{name}_batch.pt"), rank))
        torch.save([initial, gradients, weights], folder / f"{name}_{rank}.pt")
    distributed.destroy_process_group()


def part_of(batch: dict, rank: int) -> dict:
    target = batch["target"]
    one = slice(rank, rank + 1)
    return {
        "data": batch["data"][one],
        "target": [scale[one] for scale in target] if isinstance(target, list) else target[one],
    }


@pytest.fixture(scope="module")
def runs(workspace, tmp_path_factory) -> tuple[Path, dict]:
    """All cases by two processes; the single processes' trainers, not yet trained, to compare with."""
    folder = tmp_path_factory.mktemp("ddp")
    datasets = {scheme: workspace.dataset(scheme) for scheme, _ in CASES.values()}
    single = {}
    with workspace.environment(nnUNet_n_proc_DA="0"):
        for name, (scheme, trainer_class) in CASES.items():
            single[name] = make_trainer(datasets[scheme], trainer_class)
            batches, _ = single[name].get_dataloaders()
            batch = next(batches)
            torch.save({key: batch[key] for key in ("data", "target")}, folder / f"{name}_batch.pt")
    torch.multiprocessing.spawn(train_one_rank, (folder, datasets, workspace.variables), nprocs=WORLD_SIZE)
    return folder, single


@pytest.mark.parametrize("name", CASES)
def test_two_processes_learn_what_one_learns_from_the_joined_batch(runs, name):
    """Within 1e-4 of the largest gradient: sums of float32 in another order."""
    folder, trainers = runs
    trainer = trainers[name]
    initial, gradients, weights = torch.load(folder / f"{name}_0.pt")
    trainer.network.load_state_dict(initial)

    expected_gradients, expected_weights = train(trainer, torch.load(folder / f"{name}_batch.pt"))

    for given, expected in zip(gradients, expected_gradients, strict=True):
        largest = max(gradient.abs().max() for gradient in expected.values())
        for key, gradient in expected.items():
            torch.testing.assert_close(given[f"module.{key}"], gradient, rtol=0, atol=1e-4 * largest.item(), msg=key)
    for key, weight in expected_weights.items():
        torch.testing.assert_close(weights[f"module.{key}"], weight, rtol=1e-4, atol=1e-5, msg=key)
        assert torch.equal(torch.load(folder / f"{name}_1.pt")[2][f"module.{key}"], weights[f"module.{key}"])


SHORT = "nnUNetTrainerH2ASegShort"
SHORT_ON_CPU = """
import torch
from short_trainers import nnUNetTrainerH2ASegShort


class nnUNetTrainerH2ASegShortOnCPU(nnUNetTrainerH2ASegShort):
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.device, self.grad_scaler = torch.device("cpu"), None

    def _do_i_compile(self):
        return False  # nnU-Net would, for it takes the device to be CUDA
"""


def run_ddp_on_cpu(rank: int, folder: Path, *arguments) -> None:
    without_cuda(folder)
    run_training.run_ddp(rank, *arguments)


@pytest.mark.parametrize(
    ("trainer", "world_size"),
    [
        pytest.param(f"{SHORT}OnCPU", WORLD_SIZE, marks=pytest.mark.slow, id="cpu"),
        pytest.param(
            SHORT,
            1,
            marks=ON_CUDA,
            id="cuda",
        ),
    ],
)
def test_nnunets_run_ddp_trains_and_validates(workspace, tmp_path, trainer, world_size):
    dataset = workspace.dataset("classes")
    (workspace.folder / "trainers" / "on_cpu.py").write_text(SHORT_ON_CPU)
    variables = workspace.variables | {"nnUNet_n_proc_DA": "0", "nnUNet_def_n_proc": "1"}
    variables |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(run_training.find_free_network_port())}
    arguments = (dataset.id, "3d_fullres", 0, trainer, "nnUNetPlans")
    arguments += (False, False, False, None, False, False, world_size)  # nnUNetv2_train's options, none given
    worker = (run_ddp_on_cpu, (tmp_path, *arguments)) if trainer != SHORT else (run_training.run_ddp, arguments)

    with mock.patch.dict(os.environ, variables):
        torch.multiprocessing.spawn(*worker, nprocs=world_size)

    fold = dataset.model(trainer=trainer) / "fold_0"
    checkpoint = torch.load(fold / "checkpoint_final.pth", map_location="cpu", weights_only=False)
    assert np.isfinite(checkpoint["logging"]["train_losses"]).all()
    assert len(checkpoint["logging"]["train_losses"]) == 2
    with workspace.environment():  # no process group: a single process reads what several wrote
        make_trainer(dataset, OnCPU).network.load_state_dict(checkpoint["network_weights"])
    validated = json.loads((fold / "validation" / "summary.json").read_text())["metric_per_case"]
    split = json.loads((dataset.preprocessed / "splits_final.json").read_text())[0]
    assert len(validated) == len(split["val"])
