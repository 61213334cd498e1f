import pytest
import torch
from torch import nn
from torch.nn import functional as F

from h2aseg_nnunet.network.blocks import NormPReLU, ResidualBlock, StemBlock, make_dropout


def test_norm_prelu_on_two_positions():
    """Two positions normalise to -1 and 1; the slope of 0.25 leaves -0.25 and 1."""
    output = NormPReLU()(torch.tensor([[[[2.0, 6.0]]]]))

    torch.testing.assert_close(output, torch.tensor([[[[-0.25, 1.0]]]]))


def test_residual_block_normalises_once_as_twice():
    torch.manual_seed(0)
    block = ResidualBlock(nn.Conv2d, 3, 4, [3, 3], [2, 2])
    nn.init.constant_(block.activation_skip.weight, 0.7)
    x = torch.randn(2, 3, 7, 6)

    main = block.conv1(F.prelu(F.instance_norm(x), block.activation1.weight))
    main = block.conv2(F.prelu(F.instance_norm(main), block.activation2.weight))
    skip = block.conv_skip(F.prelu(F.instance_norm(x), block.activation_skip.weight))

    output = block(x)
    assert output.shape == (2, 4, 4, 3)
    torch.testing.assert_close(output, main + skip)


def test_stem_sees_absolute_intensities():
    """No norm before the first convolution: the skip path keeps what a constant offset adds."""
    torch.manual_seed(0)
    stem = StemBlock(nn.Conv3d, 1, 4, [1, 1, 1])
    x = torch.randn(1, 1, 4, 4, 4)

    difference = stem(x + 1) - stem(x)

    expected = stem.conv_skip.weight.sum(1).reshape(1, 4, 1, 1, 1).expand_as(difference)
    torch.testing.assert_close(difference, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("conv_op", "size"), [(nn.Conv2d, (8, 8)), (nn.Conv3d, (4, 4, 4))])
def test_dropout_drops_whole_channels(conv_op, size):
    torch.manual_seed(0)
    output = make_dropout(conv_op, 0.5)(torch.ones(1, 64, *size)).flatten(2)

    assert set(output.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(output.amax(-1), output.amin(-1))
