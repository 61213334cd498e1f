"""Instance norm as the release has it: no affine, no running statistics."""

import torch
from torch import Tensor

EPS = 1e-5
CONSTANT_VARIANCE = 1e-3 * EPS
"""A channel that varies less than this varies by rounding only."""


def instance_norm(x: Tensor) -> Tensor:
    """(b, c, *) -> (b, c, *): every channel of every item with mean 0 and variance 1.

    A constant channel gets no gradient: the formula's would grow by 1 / sqrt(EPS) = 316 at every layer. A patch outside
    the PET's field of view is constant throughout its stream, where the release's gradients explode. A map of a single
    position becomes zero, as the formula says.

    Under autocast the result has autocast's type, which halves the largest maps of the network; statistics are
    computed in float32 at least.
    """
    x = x.to(compute_dtype(x))
    with torch.autocast(x.device.type, enabled=False):
        exact = x.to(exact_dtype(x))
        variance, mean = torch.var_mean(exact, dim=tuple(range(2, x.ndim)), correction=0, keepdim=True)
        normalized = (exact - mean) * (variance + EPS).rsqrt()
        return torch.where(variance > CONSTANT_VARIANCE, normalized, normalized.detach()).to(x.dtype)


def exact_dtype(x: Tensor) -> torch.dtype:
    """The type of sums and statistics: float32 at least."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def compute_dtype(x: Tensor) -> torch.dtype:
    """Autocast's type where it is enabled, else that of x."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
