"""Compile every Triton kernel for CUDA cards, without one: run by integration/test_triton.py in its own process.

The kernels' host code runs on a CPU's tensors. What it would launch is compiled for sm_80 (A100) and sm_90 (H100).
"""

from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from h2aseg_nnunet.network.kernels import triton_kernels

TYPES = {torch.float16: "*fp16", torch.bfloat16: "*bf16", torch.float32: "*fp32", torch.float64: "*fp64"}
TARGETS = [GPUTarget("cuda", capability, 32) for capability in (80, 90)]
compiled: set[str] = set()


class Launcher:
    """Stands in for a kernel: `kernel[grid](...)` compiles it for the types of its arguments."""

    def __init__(self, kernel: JITFunction):
        self.kernel = kernel

    def __getitem__(self, grid: tuple[int, ...]) -> "Launcher":
        return self

    def __call__(self, *args: Any, **constants: Any) -> None:
        arguments = dict(zip(self.kernel.arg_names, args, strict=False)) | constants
        signature = {name: self.type_of(name, value) for name, value in arguments.items()}
        fixed = {name: value for name, value in arguments.items() if signature[name] == "constexpr"}
        for target in TARGETS:
            triton.compile(ASTSource(self.kernel, signature, constexprs=fixed), target=target)
        compiled.add(self.kernel.__name__)

    def type_of(self, name: str, value: Any) -> str:
        if self.kernel.params[self.kernel.arg_names.index(name)].is_constexpr:
            return "constexpr"
        if isinstance(value, Tensor):
            return TYPES[value.dtype]
        return "fp32" if isinstance(value, float) else "i32"


def launch_all(dtype: torch.dtype) -> None:
    size = (8, 8, 40)
    parts = [torch.randn(2, width, *size).to(dtype) for width in (8, 8, 32)]
    tumor, w1, w0 = torch.rand(2, 1, *size).to(dtype), torch.randn(2, 48), torch.randn(2, 48)
    mean, inverse_std = torch.randn(2, 2, 48)
    slopes = [torch.ones(1) for _ in range(6)]
    outs = [torch.empty_like(part) for part in (*parts, *parts)]
    for weighing in ((tumor, w1, w0), (None, None, None)):
        for k in (3, 6):
            for again in (True, False):
                triton_kernels.norm_prelu(parts, *weighing, slopes[:k], outs[:k], mean, inverse_std, again)
            triton_kernels.norm_prelu_backward(outs[:k], parts, *weighing, slopes[:k], mean, inverse_std)
    for masked in (True, False):
        means, counts = triton_kernels.means_by_share(parts, [tumor, tumor], [2, 1], masked)
        triton_kernels.means_by_share_backward(
            outs[:3], means, parts, [tumor, tumor], [2, 1], means if masked else None, counts, masked
        )


if __name__ == "__main__":
    kernels = {n: k for n, k in vars(triton_kernels).items() if isinstance(k, JITFunction)}
    helpers = {"_at", "_load_row", "_statistics_of_row", "_gradient_of_norm"}
    for name in kernels.keys() - helpers:
        setattr(triton_kernels, name, Launcher(kernels[name]))
    launch_all(torch.float16)
    assert compiled == kernels.keys() - helpers, kernels.keys() - helpers - compiled
    print(f"compiled {len(compiled)} kernels for {len(TARGETS)} targets")
