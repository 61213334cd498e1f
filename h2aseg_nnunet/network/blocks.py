"""Convolutional building blocks: interpolation and the residual blocks of encoder and decoder."""

from collections.abc import Sequence

import torch
from dynamic_network_architectures.building_blocks.helper import convert_conv_op_to_dim, get_matching_dropout
from torch import Tensor, nn
from torch.nn import functional as F

from h2aseg_nnunet.network.cpu import runs_on_cpu, to_fast_layout
from h2aseg_nnunet.network.norm_prelu import norm_prelu, norm_prelu_convs

ConvOp = type[nn.Conv2d] | type[nn.Conv3d]
INTERPOLATION_MODES = {2: "bilinear", 3: "trilinear"}


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """(b, c, *) -> (b, c, *size) by linear interpolation whose corner voxels coincide (align_corners).

    Keeps x's type under autocast, which would make the largest maps of the network float32.
    """
    if tuple(x.shape[2:]) == tuple(size):
        return x
    with torch.autocast(x.device.type, enabled=False):
        return F.interpolate(x, size=tuple(size), mode=INTERPOLATION_MODES[x.ndim - 2], align_corners=True)


def make_conv(
    conv_op: ConvOp,
    in_channels: int,
    out_channels: int,
    kernel_size: Sequence[int],
    stride: int | Sequence[int] = 1,
    bias: bool = True,
) -> nn.Conv2d | nn.Conv3d:
    """Convolution padded as in dynamic_network_architectures: the map keeps its size where the stride is 1."""
    padding = [(k - 1) // 2 for k in kernel_size]
    return conv_op(in_channels, out_channels, kernel_size, stride, padding, bias=bias)


def make_dropout(conv_op: ConvOp, p: float) -> nn.Module:
    """Channel dropout (whole feature maps), or the identity where p is 0."""
    return get_matching_dropout(dimension=convert_conv_op_to_dim(conv_op))(p) if p > 0 else nn.Identity()


class NormPReLU(nn.Module):
    """Instance norm followed by a PReLU with one learned slope."""

    def __init__(self):
        super().__init__()
        self.activation = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        return norm_prelu(x, self.activation.weight)


class StemBlock(nn.Module):
    """First residual block of a stream; no pre-activation, for its input is the image.

    Shape:
        x: (b, in_channels, *); output: (b, out_channels, *).
    """

    def __init__(
        self,
        conv_op: ConvOp,
        in_channels: int,
        out_channels: int,
        kernel_size: Sequence[int],
        conv_bias: bool = True,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.conv1 = make_conv(conv_op, in_channels, out_channels, kernel_size, bias=conv_bias)
        self.norm_activation = NormPReLU()
        self.dropout = make_dropout(conv_op, dropout)
        self.conv2 = make_conv(conv_op, out_channels, out_channels, kernel_size, bias=conv_bias)
        self.conv_skip = make_conv(conv_op, in_channels, out_channels, kernel_size, bias=conv_bias)

    def forward(self, x: Tensor) -> Tensor:
        main, skip = self._both_convs(x)
        main = self.conv2(self.dropout(self.norm_activation(main)))
        return to_fast_layout(main).add_(skip)

    def _both_convs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """conv1 and conv_skip of the image.

        As one convolution of two groups on a CPU: PyTorch does not give a single input channel to oneDNN.
        """
        if not runs_on_cpu(x):
            return self.conv1(x), self.conv_skip(x)
        weight = torch.cat([self.conv1.weight, self.conv_skip.weight])
        bias = None if self.conv1.bias is None else torch.cat([self.conv1.bias, self.conv_skip.bias])
        convolve = F.conv2d if x.ndim == 4 else F.conv3d
        both = convolve(to_fast_layout(torch.cat([x, x], 1)), weight, bias, padding=self.conv1.padding, groups=2)
        main, skip = both.chunk(2, dim=1)
        return to_fast_layout(main), skip


class ResidualBlock(nn.Module):
    """Pre-activation residual block whose skip path is an activated convolution too.

    Main and skip begin with the same instance norm of the same tensor; it is computed once.

    Shape:
        x: (b, in_channels, *); output: (b, out_channels, *), every extent divided by its stride, rounded up.
    """

    def __init__(
        self,
        conv_op: ConvOp,
        in_channels: int,
        out_channels: int,
        kernel_size: Sequence[int],
        stride: int | Sequence[int] = 1,
        conv_bias: bool = True,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.activation1 = nn.PReLU()
        self.conv1 = make_conv(conv_op, in_channels, out_channels, kernel_size, stride, bias=conv_bias)
        self.dropout = make_dropout(conv_op, dropout)
        self.activation2 = nn.PReLU()
        self.conv2 = make_conv(conv_op, out_channels, out_channels, kernel_size, bias=conv_bias)
        self.activation_skip = nn.PReLU()
        self.conv_skip = make_conv(conv_op, in_channels, out_channels, kernel_size, stride, bias=conv_bias)

    def forward(self, x: Tensor) -> Tensor:
        main, skip = norm_prelu_convs(x, [self.activation1, self.activation_skip], [self.conv1, self.conv_skip])
        (main,) = norm_prelu_convs(self.dropout(main), [self.activation2], [self.conv2])
        return main.add_(skip)
