"""Linear interpolation as the release has it."""

from collections.abc import Sequence

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
        return F.interpolate(x, size=tuple(size), mode=INTERPOLATION_MODES[x.ndim - 2], align_corners=True)
