"""SUV as the network reads it: calibrated, unclipped, compressed."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

SUV_SCALE = 1.0
"""SUV below which the scale is nearly linear, and above which it is nearly logarithmic: that of blood and muscle."""


class CompressSUV(nn.Module):
    """Turns SUV x into arcsinh(x / s), and leaves the other channels as they are.

    nnU-Net's own schemes lose one of two things. Clipping to the percentiles of the lesions, as for CT, makes one value
    of all uptake below the lowest lesions, and with it the contrast of faint ones is gone. The z-score of each image
    keeps it and loses the calibration between patients. Here both are kept: SUV 1 is 0.88, 2.5 is 1.65, 10 is 3.0 and
    100 is 5.3 in every patient, which is the order of size that nnU-Net's networks are made for. Interpolation may
    leave SUVs below 0, which the function takes as well.

    The scale is a buffer: it is saved and loaded with the weights.

    Args:
        num_channels: Channels of the stacked input.
        suv_channels: Those that hold SUV.
        scale: s.

    Shape:
        x and output: (b, num_channels, *).

    Raises:
        ValueError: If there is no such channel, or the scale is not above 0.
    """

    scale: Tensor
    is_suv: Tensor

    def __init__(self, num_channels: int, suv_channels: Sequence[int], scale: float = SUV_SCALE):
        super().__init__()
        if not suv_channels or not set(suv_channels) <= set(range(num_channels)):
            raise ValueError(f"suv_channels={list(suv_channels)}: expected some of the {num_channels} input channels.")
        if not scale > 0:
            raise ValueError(f"suv_scale={scale}: expected is a SUV above 0.")
        is_suv = torch.zeros(num_channels, dtype=torch.bool)
        is_suv[list(suv_channels)] = True
        self.register_buffer("scale", torch.tensor(float(scale)))
        self.register_buffer("is_suv", is_suv, persistent=False)
        self.channels = list(suv_channels)

    def forward(self, x: Tensor) -> Tensor:
        is_suv = self.is_suv.view(-1, *[1] * (x.ndim - 2))
        return torch.where(is_suv, torch.asinh(x / self.scale.to(x.dtype)), x)
