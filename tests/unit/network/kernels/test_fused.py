"""Every kernel equals its plain formula, outputs and gradients, in float64: a CPU's way, and a CUDA card's.

A card's way runs here on a CPU, with the formulas of ops.py in place of its Triton kernels, which
tests/integration/test_triton.py compares with them.
"""

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from h2aseg_nnunet.network import kernels
from h2aseg_nnunet.network.attention import BidirectionalAttention
from h2aseg_nnunet.network.blocks import NormPReLU, ResidualBlock, StemBlock
from h2aseg_nnunet.network.decoder import DecoderStage, SegLayer
from h2aseg_nnunet.network.encoder import EncoderStage
from h2aseg_nnunet.network.h2aseg import H2ASeg
from h2aseg_nnunet.network.mcsa import MCSA
from h2aseg_nnunet.network.tamw import GatedTAMW

CONVS = {2: nn.Conv2d, 3: nn.Conv3d}
SIZES = {2: (7, 6), 3: (5, 4, 6)}
WAYS = {"cpu": nullcontext, "gpu": kernels.as_on_a_gpu}

dimensions = pytest.mark.parametrize("dimension", [2, 3])


@pytest.fixture(params=WAYS)
def assert_fused_is_plain(request) -> Callable[..., None]:
    """Compares a module's fused way with its formula, on random maps of the given channels and extents."""

    def check(module: nn.Module, *shapes: tuple[int, ...], dtype: torch.dtype = torch.float64, **arguments) -> None:
        torch.manual_seed(0)
        module = module.to(dtype)
        for each in module.modules():
            if isinstance(each, nn.PReLU):
                nn.init.uniform_(each.weight, -0.5, 0.9)
        inputs = [(3 * torch.randn(2, *shape, dtype=dtype) + 1).requires_grad_() for shape in shapes]
        with kernels.plain():
            expected = run(module, inputs, arguments)
        with WAYS[request.param]():
            assert kernels.use_fused(module, inputs[0])
            given = run(module, inputs, arguments)
        scale = max(each.abs().max() for each in expected)
        for a, b in zip(given, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9 * scale.item())

    return check


def run(module: nn.Module, inputs: list[Tensor], arguments: dict) -> list[Tensor]:
    torch.manual_seed(1)
    outputs = module(*inputs, **arguments)
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    probes = [torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view(y.shape) for y in outputs]
    wanted = [*(x for x in inputs if x.requires_grad), *module.parameters()]
    return [*outputs, *torch.autograd.grad(sum((y * p).sum() for y, p in zip(outputs, probes, strict=True)), wanted)]


@dimensions
def test_norm_prelu(assert_fused_is_plain, dimension):
    assert_fused_is_plain(NormPReLU(), (3, *SIZES[dimension]))


@dimensions
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_stem_block(assert_fused_is_plain, dimension, bias, channels):
    kernel = (3, 1, 3)[:dimension]
    assert_fused_is_plain(StemBlock(CONVS[dimension], channels, 4, kernel, bias), (channels, *SIZES[dimension]))


@dimensions
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
def test_residual_block(assert_fused_is_plain, dimension, bias, stride):
    block = ResidualBlock(CONVS[dimension], 3, 4, (3,) * dimension, stride, bias)
    assert_fused_is_plain(block, (3, *SIZES[dimension]))


@pytest.mark.parametrize("block", [StemBlock, ResidualBlock])
def test_channel_dropout(block, monkeypatch):
    """The same channels are dropped in both ways: dropout is drawn from the same numbers."""
    kept = torch.tensor([2.0, 0, 2, 0], dtype=torch.float64).view(1, 4, 1, 1)
    monkeypatch.setattr(nn.Dropout2d, "forward", lambda self, x: x * kept)
    module = block(nn.Conv2d, 3, 4, [3, 3], dropout=0.5).double()
    x = torch.randn(2, 3, 7, 6, dtype=torch.float64, requires_grad=True)

    with kernels.plain():
        expected = run(module, [x], {})
    for way in WAYS.values():
        with way():
            for a, b in zip(run(module, [x], {}), expected, strict=True):
                torch.testing.assert_close(a, b)


@pytest.mark.parametrize("stride", [1, 2])
def test_both_streams_of_an_encoder_stage(assert_fused_is_plain, stride):
    blocks = [ResidualBlock(nn.Conv3d, 3, 4, (3, 3, 3), stride) for _ in range(2)]
    assert_fused_is_plain(EncoderStage(*blocks, None), (3, 5, 4, 6), (3, 5, 4, 6))


def test_both_stems_of_unequal_streams(assert_fused_is_plain):
    blocks = [StemBlock(nn.Conv3d, channels, 4, (3, 3, 3)) for channels in (1, 2)]
    assert_fused_is_plain(EncoderStage(*blocks, None), (1, 5, 4, 6), (2, 5, 4, 6))


def decoder_of(dimension: int, num_classes: int = 2) -> tuple[DecoderStage, SegLayer]:
    network = H2ASeg(2, 2, [4, 6], CONVS[dimension], 3, 2, num_classes, patch_size=(8,) * dimension)
    return network.decoder.stages[0], network.decoder.seg_layers[1]


@dimensions
def test_seg_layer(assert_fused_is_plain, dimension):
    assert_fused_is_plain(decoder_of(dimension)[1], (8, *SIZES[dimension]))


@dimensions
@pytest.mark.parametrize("num_classes", [2, 3])
def test_decoder_stage(assert_fused_is_plain, dimension, num_classes):
    size, coarse = SIZES[dimension], tuple(-(-extent // 2) for extent in SIZES[dimension])
    stage, _ = decoder_of(dimension, num_classes)
    for gains in (stage.tamw.tumor_gains, stage.tamw.background_gains):
        nn.init.normal_(gains.fc2.bias)
    maps = (4, *size), (4, *size), (12, *coarse), (num_classes, *coarse)
    assert_fused_is_plain(stage, *maps, regions=False)


@pytest.mark.parametrize("token_norm", [False, True])
@pytest.mark.parametrize("reduction", [1, 4])
@pytest.mark.parametrize("masked", [False, True])
def test_bidirectional_attention(assert_fused_is_plain, token_norm, reduction, masked):
    mask = torch.tensor([[[True] * 5, [True, True, True, False, False]]]) if masked else None
    module = BidirectionalAttention(8, reduction, token_norm=token_norm)
    assert_fused_is_plain(module, (2, 5, 8), (2, 5, 8), mask=mask)


@pytest.mark.parametrize("size", [(8, 8, 4), (7, 6, 5)])
def test_mcsa(assert_fused_is_plain, size):
    module = MCSA(nn.Conv3d, 8, window_size=(4, 4, 2), merge_size=(2, 2, 2), token_norm=True)
    assert_fused_is_plain(module, (8, *size), (8, *size))


@dimensions
@pytest.mark.parametrize(("regions", "as_published"), [(False, True), (True, True), (False, False), (True, False)])
@pytest.mark.parametrize("deep_supervision", [True, False])
def test_the_whole_network(assert_fused_is_plain, dimension, regions, as_published, deep_supervision):
    size = (20, 12, 10)[:dimension]
    network = H2ASeg(
        2, 3, (4, 8, 8), CONVS[dimension], 3, 2, 2, deep_supervision=deep_supervision, patch_size=size, regions=regions,
        interactions=["none", "mcsa", "global"],
        attention_token_norm=True, residual_mcsa=not as_published, gated_tamw=not as_published,
    )  # fmt: skip
    for each in [module for module in network.modules() if isinstance(module, GatedTAMW)]:
        nn.init.normal_(each.fc2.weight)  # it starts at zero, where nothing could differ
    assert_fused_is_plain(network, (2, *size))


@pytest.mark.parametrize("way", WAYS)
def test_a_constant_channel_gets_no_gradient(way):
    x = torch.randn(2, 3, 5, 4, 6, dtype=torch.float64)
    x[:, 1] = 7
    x.requires_grad_()
    block = ResidualBlock(nn.Conv3d, 3, 4, (3, 3, 3)).double()

    with WAYS[way]():
        (gradient,) = torch.autograd.grad(block(x).square().sum(), x)

    assert not gradient[:, 1].any()
    assert gradient[:, 0].any() and gradient[:, 2].any()


@pytest.mark.parametrize("way", WAYS)
def test_between_two_convolutions_backward_keeps_one_map(way):
    block = ResidualBlock(nn.Conv3d, 8, 8, (3, 3, 3))
    x = torch.randn(1, 8, 8, 8, 8, requires_grad=True)
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    with WAYS[way](), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        block(x)

    assert sum(numel >= x.numel() for numel in kept.values()) == 2  # x, and what conv1 makes of it


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_computes_in_its_type_and_gives_gradients_of_the_weights_type(way, dtype):
    block = ResidualBlock(nn.Conv3d, 8, 8, (3, 3, 3))
    x = torch.randn(1, 8, 8, 8, 8, requires_grad=True)
    with kernels.plain():
        expected = block(x)

    with WAYS[way](), torch.autocast("cpu", dtype):
        output = block(x)
        output.float().square().mean().backward()

    assert output.dtype == dtype
    assert (output.float() - expected).norm() < 0.02 * expected.norm()
    assert x.grad.dtype == torch.float32
    assert {parameter.grad.dtype for parameter in block.parameters()} == {torch.float32}
