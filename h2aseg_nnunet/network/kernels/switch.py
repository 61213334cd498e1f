"""Which way a block is computed: by its plain formula, or fused for a CPU or for a CUDA card."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec

import torch
from torch import Tensor, nn

_force_plain = ContextVar("force_plain", default=False)
_on_a_gpu = ContextVar("on_a_gpu", default=False)
_HAS_TRITON = find_spec("triton") is not None
_PACKAGES = ("torch.nn.modules", "h2aseg_nnunet.network")


def use_fused(module: nn.Module, x: Tensor) -> bool:
    """Whether a module's fused kernel may stand in for its plain formula; the numbers are the same.

    The plain formula runs where a fused kernel would hide something: in `torch.compile`, which fuses by itself, within
    `plain()`, and where one of the modules that the formula calls has hooks or was exchanged for another one.

    Args:
        module: The module that asks.
        x: Its input.
    """
    if torch.compiler.is_compiling() or _force_plain.get():
        return False
    return (runs_on_cpu(x) or runs_on_gpu(x)) and all(
        _is_as_built(each) for each in module.modules() if each is not module
    )


@contextmanager
def plain() -> Iterator[None]:
    """Every module inside is computed by its plain formula."""
    token = _force_plain.set(True)
    try:
        yield
    finally:
        _force_plain.reset(token)


@contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """Everything inside runs on the CPU as it would on a GPU: its memory is counted this way, without one."""
    token = _on_a_gpu.set(True)
    try:
        yield
    finally:
        _on_a_gpu.reset(token)


def runs_on_cpu(x: Tensor) -> bool:
    """Whether eager code runs on a CPU and as a CPU likes it; compiled code is laid out by its compiler."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling() and not _on_a_gpu.get()


def runs_on_gpu(x: Tensor) -> bool:
    """Whether the kernels written for CUDA cards can run."""
    if x.device.type == "cuda" and _HAS_TRITON:
        from h2aseg_nnunet.network.kernels.trial import kernels_work_on

        return kernels_work_on(x.device)
    return x.device.type == "cpu" and _on_a_gpu.get()


def _is_as_built(module: nn.Module) -> bool:
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return type(module).__module__.startswith(_PACKAGES) and not any(hooks)
