"""torch.compile, nnU-Net's default on GPUs: one graph per state of deep supervision, and eager numbers."""

from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from torch import nn
from torch._dynamo import OptimizedModule
from torch._dynamo.testing import CompileCounterWithBackend

from h2aseg_nnunet import nnUNetTrainerH2ASeg
from h2aseg_nnunet.network.h2aseg import H2ASeg
from tests.integration.precision import ON_CUDA, Float16, FullPrecision

INDUCTOR = pytest.param("inductor", marks=pytest.mark.slow)  # the default; generates code for minutes
SIZE = (7, 12, 16)  # neither strides nor windows divide it


@pytest.fixture(autouse=True)
def forget_compiled_code():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def make_network(regions: bool = False) -> H2ASeg:
    """Small, with MCSA, global attention and TAMW."""
    torch.manual_seed(0)
    return H2ASeg(
        input_channels=2,
        n_stages=2,
        features_per_stage=[4, 8],
        conv_op=nn.Conv3d,
        kernel_sizes=3,
        strides=2,
        num_classes=2,
        deep_supervision=True,
        patch_size=SIZE,
        interactions=["mcsa", "global"],
        window_size=(4, 8, 8),
        regions=regions,
    )


@pytest.mark.parametrize("regions", [False, True], ids=["classes", "regions"])
def test_no_graph_break(regions):
    explanation = torch._dynamo.explain(make_network(regions))(torch.randn(2, 2, *SIZE))

    assert (explanation.graph_count, explanation.graph_break_count) == (1, 0), explanation.break_reasons


@pytest.mark.parametrize("backend", ["aot_eager", INDUCTOR])
def test_outputs_and_gradients_equal_eager_ones(backend):
    network = make_network()
    x = torch.randn(2, 2, *SIZE)
    expected, expected_gradients = forward_and_backward(network, network, x)

    outputs, gradients = forward_and_backward(network, torch.compile(network, fullgraph=True, backend=backend), x)

    torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-4, atol=1e-4)


def forward_and_backward(network: nn.Module, called: nn.Module, x: torch.Tensor) -> tuple[list, list]:
    network.zero_grad()
    outputs = called(x)
    sum(output.square().mean() for output in outputs).backward()
    return [output.detach() for output in outputs], [parameter.grad.clone() for parameter in network.parameters()]


@pytest.mark.parametrize("backend", ["eager", INDUCTOR])
def test_switching_deep_supervision_compiles_once_more_and_never_again(backend):
    network = make_network()
    counter = CompileCounterWithBackend(backend)
    compiled = torch.compile(network, fullgraph=True, backend=counter)
    x = torch.randn(2, 2, *SIZE)
    graphs = []

    with torch.no_grad():
        expected = network(x)
        for deep_supervision in (True, False, True, False):
            network.decoder.deep_supervision = deep_supervision
            output = compiled(x)
            graphs.append(counter.frame_count)
            stages = output if deep_supervision else [output]
            torch.testing.assert_close(stages, expected[: len(stages)], rtol=1e-4, atol=1e-4)

    assert graphs == [1, 2, 2, 2]


def test_another_batch_size_is_one_more_graph_for_all_of_them():
    network = make_network().eval()
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(network, fullgraph=True, backend=counter)

    with torch.no_grad():
        for batch_size in (2, 3, 4):
            x = torch.randn(batch_size, 2, *SIZE)
            torch.testing.assert_close(compiled(x), network(x), rtol=1e-4, atol=1e-4)

    assert counter.frame_count == 2


class CompiledOnCPU(FullPrecision):
    """nnU-Net compiles on GPUs only; the same steps on a CPU."""

    def _do_i_compile(self) -> bool:
        return True


class CompiledFloat16OnCPU(CompiledOnCPU, Float16):
    """In float16 as on a GPU."""


@pytest.mark.parametrize(
    ("trainer_class", "device", "backend"),
    [
        pytest.param(CompiledOnCPU, "cpu", "aot_eager", marks=pytest.mark.slow),
        pytest.param(CompiledFloat16OnCPU, "cpu", "inductor", marks=pytest.mark.slow),
        pytest.param(
            nnUNetTrainerH2ASeg,
            "cuda",
            "inductor",
            marks=ON_CUDA,
        ),
    ],
)
def test_nnunets_default_compile_trains_and_predicts(workspace, monkeypatch, trainer_class, device, backend):
    """As nnUNetv2_train: compiled training steps, a compiled validation step, sliding-window validation at the end."""
    dataset = workspace.dataset("binary")
    monkeypatch.delenv("nnUNet_compile", raising=False)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    torch.manual_seed(0)
    with workspace.environment(nnUNet_n_proc_DA="0"):
        settings = (dataset.plans() | {"continue_training": False}, "3d_fullres", 0, dataset.description)
        trainer = trainer_class(*settings, device=torch.device(device))
        trainer.initialize()
        batches, _ = trainer.get_dataloaders()
        losses, graphs = [], []
        for _ in range(3):
            trainer.on_train_epoch_start()
            losses.append(trainer.train_step(next(batches))["loss"])
            trainer.on_validation_epoch_start()
            with torch.no_grad():
                validation = trainer.validation_step(next(batches))
            losses.append(validation["loss"])
            trainer.on_validation_epoch_end([validation])
            graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])

        image = torch.randn(2, *(extent + 3 for extent in trainer.configuration_manager.patch_size))
        trainer.set_deep_supervision_enabled(False)
        compiled_logits = predict(trainer, trainer.network, image)
        eager_logits = predict(trainer, trainer.network._orig_mod, image)

    assert isinstance(trainer.network, OptimizedModule)
    assert np.isfinite(losses).all()
    assert not torch._dynamo.utils.counters["graph_break"]
    assert graphs[1:] == graphs[:1] * 2  # nothing is compiled after the first epoch
    assert (compiled_logits - eager_logits).norm() < 1e-2 * eager_logits.norm()
    if trainer_class is not CompiledFloat16OnCPU:  # there single voxels of the eager network are off by more, too
        # float16 on a GPU; the predictor sums windows in float16 everywhere
        torch.testing.assert_close(compiled_logits, eager_logits, rtol=1e-2, atol=1e-2 if device == "cuda" else 1e-3)


def predict(trainer: nnUNetTrainerH2ASeg, network: nn.Module, image: torch.Tensor) -> torch.Tensor:
    predictor = nnUNetPredictor(use_mirroring=False, device=trainer.device, allow_tqdm=False)
    settings = (trainer.plans_manager, trainer.configuration_manager, None, trainer.dataset_json, "", None)
    predictor.manual_initialization(network, *settings)
    with trainer.autocast() if trainer.device.type == "cpu" else nullcontext():  # nnU-Net's own is for CUDA
        return predictor.predict_sliding_window_return_logits(image).float().cpu()
