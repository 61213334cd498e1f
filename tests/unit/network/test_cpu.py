import pytest
import torch
from torch import nn

from h2aseg_nnunet.network.blocks import StemBlock
from h2aseg_nnunet.network.cpu import as_on_a_gpu, runs_on_cpu, to_fast_layout
from h2aseg_nnunet.network.h2aseg import H2ASeg

LAYOUTS = {2: torch.channels_last, 3: torch.channels_last_3d}


@pytest.mark.parametrize("dimension", [2, 3])
def test_maps_get_their_channels_last(dimension):
    x = torch.randn(2, 3, *[4] * dimension)

    fast = to_fast_layout(x)

    assert fast.is_contiguous(memory_format=LAYOUTS[dimension])
    assert torch.equal(fast, x)


def test_compiled_code_keeps_its_layout():
    assert runs_on_cpu(torch.ones(1))
    assert torch.compile(lambda x: torch.tensor(runs_on_cpu(x)), backend="eager")(torch.ones(1)).item() is False


def build(dimension):
    torch.manual_seed(0)
    conv_op, patch_size = {2: (nn.Conv2d, (20, 12)), 3: (nn.Conv3d, (20, 12, 10))}[dimension]
    settings = {"strides": 2, "patch_size": patch_size, "interactions": ["none", "mcsa", "global"]}
    network = H2ASeg(2, 3, (4, 8, 8), conv_op, 3, num_classes=2, deep_supervision=True, **settings)
    return network.double(), torch.randn(2, 2, *patch_size, dtype=torch.float64)


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_cpu_computes_what_a_gpu_computes(dimension):
    network, x = build(dimension)

    def run():
        logits = network(x)
        return *logits, *torch.autograd.grad(sum(y.square().sum() for y in logits), list(network.parameters()))

    given = run()
    with as_on_a_gpu():
        expected = run()

    for a, b in zip(given, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_layout_reaches_the_last_map(batch_size):
    network, x = build(3)
    maps = {}
    for name, module in network.named_modules():
        if name.endswith("block"):
            module.register_forward_hook(lambda _, __, y, name=name: maps.update({name: y}))

    network(torch.cat([x, x])[:batch_size])

    assert len(maps) == 3 * 2 + 2
    # an extent that forgot its place would show in a copy: dense memory is laid out as the strides say
    assert all(torch.empty_like(y).is_contiguous(memory_format=torch.channels_last_3d) for y in maps.values()), maps


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_the_stems_joined_convolution_is_its_two(channels, bias):
    block = StemBlock(nn.Conv3d, channels, 4, (3, 3, 1), bias).double()
    x = torch.randn(2, channels, 5, 6, 7, dtype=torch.float64)

    given = block(x)

    with as_on_a_gpu():
        torch.testing.assert_close(given, block(x))
