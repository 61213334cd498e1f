"""Convolutional building blocks: the residual blocks of encoder and decoder."""

from collections.abc import Sequence

from dynamic_network_architectures.building_blocks.helper import convert_conv_op_to_dim, get_matching_dropout
from torch import Tensor, nn

from h2aseg_nnunet.network import kernels
from h2aseg_nnunet.network.norm import instance_norm

ConvOp = type[nn.Conv2d] | type[nn.Conv3d]


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
        if kernels.use_fused(self, x):
            return kernels.norm_prelus([self], [x])[0]
        return self.activation(instance_norm(x))


class StemBlock(nn.Module):
    """First residual block of a stream; no pre-activation, for its input is the image.

    Shape:
        x: (b, in_channels, *); output: (b, out_channels, *).
    """

    fused = staticmethod(kernels.stem_blocks)

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
        if kernels.use_fused(self, x):
            return self.fused([self], [x])[0]
        main = self.conv2(self.dropout(self.norm_activation(self.conv1(x))))
        return main + self.conv_skip(x)


class ResidualBlock(nn.Module):
    """Pre-activation residual block whose skip path is an activated convolution too.

    Shape:
        x: (b, in_channels, *); output: (b, out_channels, *), every extent divided by its stride, rounded up.
    """

    fused = staticmethod(kernels.residual_blocks)

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
        if kernels.use_fused(self, x):
            return self.fused([self], [x])[0]
        x = instance_norm(x)  # main and skip share it
        main = self.conv1(self.activation1(x))
        main = self.conv2(self.activation2(instance_norm(self.dropout(main))))
        return main + self.conv_skip(self.activation_skip(x))
