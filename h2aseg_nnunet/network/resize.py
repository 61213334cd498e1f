"""Linear interpolation as the release has it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

INTERPOLATION_MODES = {2: "bilinear", 3: "trilinear"}


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """(b, c, *) -> (b, c, *size) by linear interpolation whose corner voxels coincide (align_corners).

    Keeps x's type: autocast would otherwise up-cast interpolation to float32.
    """
    if tuple(x.shape[2:]) == tuple(size):
        return x
    with torch.autocast(x.device.type, enabled=False):
        return torch.ops.h2aseg.resize(x, list(size)) if torch.compiler.is_compiling() else _interpolate(x, size)


def _interpolate(x: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(x, size=tuple(size), mode=INTERPOLATION_MODES[x.ndim - 2], align_corners=True)


@torch.library.custom_op("h2aseg::resize", mutates_args=())
def _compiled(x: Tensor, size: list[int]) -> Tensor:
    """PyTorch's own kernel also in compiled code.

    inductor would write it out, backward as one scattered sum per corner: twenty kernels for each interpolation.
    """
    return _interpolate(x.contiguous(), size)


@torch.library.custom_op("h2aseg::resize_backward", mutates_args=())
def _compiled_backward(gradient: Tensor, size: list[int]) -> Tensor:
    aten = torch.ops.aten
    backward = {2: aten.upsample_bilinear2d_backward.default, 3: aten.upsample_trilinear3d_backward.default}
    shape = [*gradient.shape[:2], *size]
    return backward[len(size)](gradient.contiguous(), list(gradient.shape[2:]), shape, True)


@_compiled.register_fake
def _(x: Tensor, size: list[int]) -> Tensor:
    return x.new_empty(*x.shape[:2], *size)


@_compiled_backward.register_fake
def _(gradient: Tensor, size: list[int]) -> Tensor:
    return gradient.new_empty(*gradient.shape[:2], *size)


def _remember_size(ctx: Any, inputs: tuple[Tensor, list[int]], output: Tensor) -> None:
    ctx.size = list(inputs[0].shape[2:])


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    return torch.ops.h2aseg.resize_backward(gradient, ctx.size), None


_compiled.register_autograd(_backward, setup_context=_remember_size)
