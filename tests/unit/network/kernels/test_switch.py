"""When a kernel stands in for the plain formula, and in which memory layout a CPU computes."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from h2aseg_nnunet.network import kernels
from h2aseg_nnunet.network.blocks import ResidualBlock
from h2aseg_nnunet.network.h2aseg import H2ASeg
from h2aseg_nnunet.network.kernels import trial
from h2aseg_nnunet.network.kernels.memory_format import to_fast_layout
from h2aseg_nnunet.network.kernels.switch import runs_on_cpu

LAYOUTS = {2: torch.channels_last, 3: torch.channels_last_3d}


def make_block() -> ResidualBlock:
    return ResidualBlock(nn.Conv2d, 3, 4, [3, 3])


def test_kernels_stand_in_in_eager_mode():
    assert kernels.use_fused(make_block(), torch.ones(1))


def test_plain_forces_the_formula_and_ends():
    with kernels.plain():
        assert not kernels.use_fused(make_block(), torch.ones(1))
    assert kernels.use_fused(make_block(), torch.ones(1))


def test_compiled_code_is_the_formula():
    block = make_block()
    compiled = torch.compile(lambda x: torch.tensor(kernels.use_fused(block, x)), backend="eager")

    assert compiled(torch.ones(1)).item() is False


@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
def test_a_hook_on_a_module_that_the_formula_calls_is_called(register):
    block, seen = make_block(), []
    handle = getattr(block.activation2, register)(lambda *_: seen.append(1))

    block(torch.randn(1, 3, 4, 4))
    handle.remove()
    block(torch.randn(1, 3, 4, 4))

    assert seen == [1]


def test_a_backward_hook_is_called():
    block, seen = make_block(), []
    block.conv1.register_full_backward_hook(lambda *_: seen.append(1))

    block(torch.randn(1, 3, 4, 4, requires_grad=True)).sum().backward()

    assert seen == [1]


def test_an_exchanged_module_is_called():
    block = make_block()
    block.activation1 = nn.Sequential(nn.PReLU())
    parametrizations.weight_norm(block.conv2)
    assert not kernels.use_fused(block, torch.ones(1))


@pytest.mark.parametrize("dimension", [2, 3])
def test_maps_get_their_channels_last(dimension):
    x = torch.randn(2, 3, *[4] * dimension)

    fast = to_fast_layout(x)

    assert fast.is_contiguous(memory_format=LAYOUTS[dimension])
    assert torch.equal(fast, x)


def test_compiled_code_keeps_its_layout():
    assert runs_on_cpu(torch.ones(1))
    assert torch.compile(lambda x: torch.tensor(runs_on_cpu(x)), backend="eager")(torch.ones(1)).item() is False


@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_layout_reaches_the_last_map(batch_size):
    network = H2ASeg(
        2, 3, (4, 8, 8), nn.Conv3d, 3, 2, 2, patch_size=(20, 12, 10), interactions=["none", "mcsa", "global"]
    )  # fmt: skip
    maps = {}
    for name, module in network.named_modules():
        if name.endswith("block"):
            module.register_forward_hook(lambda _, __, y, name=name: maps.update({name: y}))

    network(torch.randn(batch_size, 2, 20, 12, 10))

    assert len(maps) == 3 * 2 + 2
    # an extent that forgot its place would show in a copy: dense memory is laid out as the strides say
    assert all(torch.empty_like(y).is_contiguous(memory_format=torch.channels_last_3d) for y in maps.values()), maps


@pytest.fixture
def cuda(monkeypatch):
    """A card that is not there: the trial runs on the CPU."""
    trial.kernels_work_on.cache_clear()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    yield torch.device("cpu", 0)
    trial.kernels_work_on.cache_clear()


def test_kernels_that_agree_with_their_formulas_are_used(cuda):
    assert trial.kernels_work_on(cuda)


def test_kernels_that_do_not_run_are_not_used(cuda, monkeypatch):
    def run(device):
        raise RuntimeError("no such driver")

    monkeypatch.setattr(trial, "_run", run)
    with pytest.warns(UserWarning, match="plain formulas.*do not run .RuntimeError: no such driver"):
        assert not trial.kernels_work_on(cuda)


def test_kernels_with_other_numbers_are_not_used(cuda, monkeypatch):
    results = iter([[torch.ones(2)], [torch.zeros(2)]])
    monkeypatch.setattr(trial, "_run", lambda device: next(results))
    with pytest.warns(UserWarning, match="plain formulas.*numbers differ"):
        assert not trial.kernels_work_on(cuda)
