"""Channels last: the memory layout in which a CPU convolves fastest."""

import torch
from torch import Tensor

from h2aseg_nnunet.network.kernels.switch import runs_on_cpu


def to_fast_layout(x: Tensor) -> Tensor:
    """(b, c, *) -> the same map, on a CPU with its channels last: oneDNN's convolutions take 0.3 to 0.8 of the time."""
    if not runs_on_cpu(x):
        return x
    return x.contiguous(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d)
