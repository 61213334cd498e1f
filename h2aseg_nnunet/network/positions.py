"""Where a token is, as numbers that attention can compare."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

LONGEST = 100.0
"""The longest wavelength, 2 pi * 100 positions, over the shortest: maps that attend have at most some hundred."""


def encode_positions(size: Sequence[int], channels: int, like: Tensor) -> Tensor:
    """Sines and cosines of each position's coordinates, to be added to its token.

    Every axis has an equal share of the channels, half of them sines and half cosines, with wavelengths in a geometric
    series; channels left over are zero. The product of two encodings depends on the distance alone.

    Args:
        size: Extents of a window of t positions.
        channels: Features c of a token.
        like: Whose type and device the encoding has.

    Returns:
        (t, c), positions in the order of a flattened window.

    Reference:
        Vaswani et al., arXiv:1706.03762, in one dimension and with longer wavelengths.
    """
    share = channels // (2 * len(size))
    frequencies = LONGEST ** -(torch.arange(share, device=like.device) / max(1, share))
    axes = [torch.arange(extent, device=like.device) for extent in size]
    coordinates = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(size))
    angles = (coordinates[:, :, None] * frequencies).flatten(1)
    encoding = torch.cat([angles.sin(), angles.cos()], 1)
    return F.pad(encoding, (0, channels - encoding.shape[1])).to(like.dtype)
