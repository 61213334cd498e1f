"""Where a token is, as numbers that attention can compare."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def add_positions(tokens: Tensor, size: Sequence[int]) -> Tensor:
    """Add sines and cosines of each token's coordinates within its window.

    Every axis has an equal share of the channels, half of them sines and half cosines, with wavelengths from 2 pi to
    2 pi * 100 positions in a geometric series; channels left over stay as they are. So the distance of two tokens
    can be read off a product of query and key whatever the window's extents (Vaswani et al., arXiv:1706.03762, with
    wavelengths for maps of at most some hundred positions).

    Shape:
        tokens and output: (b, n, t, c). size: extents of a window, whose product is t; tokens are in their order.
    """
    share = tokens.shape[-1] // (2 * len(size))
    frequencies = 100.0 ** -(torch.arange(share, device=tokens.device) / max(1, share))
    axes = [torch.arange(extent, device=tokens.device) for extent in size]
    coordinates = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(size))
    angles = (coordinates[:, :, None] * frequencies).flatten(1)
    encoding = torch.cat([angles.sin(), angles.cos()], 1).to(tokens.dtype)
    return tokens + F.pad(encoding, (0, tokens.shape[-1] - encoding.shape[1]))
