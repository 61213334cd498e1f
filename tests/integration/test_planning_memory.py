"""The memory that planning counts for a whole network: against an allocator's record, and CUDA's autocast."""

from functools import lru_cache

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.profiler import ProfilerActivity, profile

from benchmarks.measure import bytes_saved_for_backward
from h2aseg_nnunet.network.h2aseg import H2ASeg
from h2aseg_nnunet.network.kernels import as_on_a_gpu, plain
from h2aseg_nnunet.network.resize import resize
from h2aseg_nnunet.planning import memory
from h2aseg_nnunet.planning.memory import nnunet_loss, training_step_bytes

PATCH = (64, 48, 40)


def make_network() -> H2ASeg:
    return H2ASeg(2, 4, [8, 16, 32, 64], nn.Conv3d, 3, 2, 2, deep_supervision=True, patch_size=PATCH)


@lru_cache
def count(batch_size: int, dtype: torch.dtype = torch.float16) -> int:
    return training_step_bytes(make_network, 2, PATCH, batch_size, dtype)


def test_a_step_that_needs_exactly_the_limit_is_counted():
    assert training_step_bytes(make_network, 2, PATCH, 1, limit=count(1)) == count(1)
    with pytest.raises(MemoryError):
        training_step_bytes(make_network, 2, PATCH, 1, limit=count(1) - 1)


def test_memory_grows_by_the_same_amount_with_every_sample():
    assert count(5) == pytest.approx(count(1) + 4 * (count(2) - count(1)), rel=0.01)


def test_half_precision_takes_less():
    assert count(2) < 0.65 * count(2, torch.float32)


def test_a_real_step_allocates_what_is_counted():
    """PyTorch's own record of its allocations on the CPU, workspaces of convolutions included.

    Of the plain formulas: a card's kernels need no memory but for their results, a CPU's stand-ins for them do.
    """
    network, image = make_network().train(), torch.randn(1, 2, *PATCH)
    with plain(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        nnunet_loss(network, image, torch.float32).backward()
    allocated = peak = 0
    events = record.profiler.kineto_results.events()
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        allocated += event.nbytes()
        peak = max(peak, allocated)
    weights_and_momentum = 2 * sum(parameter.nbytes for parameter in network.parameters())
    really = peak + weights_and_momentum + image.nbytes

    with plain():
        counted = training_step_bytes(make_network, 2, PATCH, 1, torch.float32)
    assert counted == pytest.approx(really, rel=0.15)


def test_autocast_for_cuda_keeps_the_same_tensors_outside_attention():
    """The count runs with the CPU's autocast; CUDA's has other lists of float16 operations.

    Fake CUDA tensors need no GPU, but only forward runs on them, and attention takes no fused kernel there.
    """
    assert saved_by_module("cuda") == pytest.approx(saved_by_module("cpu"), rel=1e-2)  # statistics may be float32


def saved_by_module(device: str) -> dict[str, int]:
    torch.set_autocast_enabled(device, True)  # torch.autocast("cuda") refuses where there is no GPU
    torch.set_autocast_dtype(device, torch.float16)
    try:
        with as_on_a_gpu(), FakeTensorMode(), torch.device(device):
            saved = bytes_saved_for_backward(make_network().train(), torch.empty(2, 2, *PATCH))
    finally:
        torch.set_autocast_enabled(device, False)
    return {name: size for name, size in saved.items() if "attention" not in name}


def test_coarse_outputs_compared_at_full_resolution_leave_the_peak_as_it_is(monkeypatch):
    def supervised_at_full_resolution(network, image, dtype):
        with torch.autocast("cpu", dtype):
            outputs = [resize(output, image.shape[2:]) for output in network(image)]
            return nnunet_loss(lambda _: outputs, image, dtype)

    expected = count(2)
    monkeypatch.setattr(memory, "nnunet_loss", supervised_at_full_resolution)

    assert training_step_bytes(make_network, 2, PATCH, 2) == pytest.approx(expected, rel=0.01)
