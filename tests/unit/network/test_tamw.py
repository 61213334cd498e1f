import pytest
import torch

from h2aseg_nnunet.network.resize import resize
from h2aseg_nnunet.network.tamw import TAMW, GatedTAMW, means_by_share


def make(dtype=torch.float64, size=(3, 4, 5)):
    torch.manual_seed(0)
    tamw = TAMW(skip_channels=4, decoder_channels=8).to(dtype)
    ct, pet = torch.randn(2, 2, 4, *size, dtype=dtype)
    decoder = torch.randn(2, 8, *size, dtype=dtype)
    tumor = torch.rand(2, 1, *size, dtype=dtype)
    return tamw, {"ct": ct, "pet": pet, "decoder": decoder, "tumor": tumor}


def literal(tamw, ct, pet, decoder, tumor):
    """The release's formula: three full copies of all features, weighted and added."""

    def gains(attention, copy):
        pooled = copy.mean(dim=(2, 3, 4))
        return attention.fc2(attention.fc1(pooled).tanh()).tanh()[:, :, None, None, None]

    background = 1 - tumor
    whole = torch.cat([ct, pet, decoder], 1)
    in_tumor = torch.cat([ct * tumor, pet * tumor, decoder], 1)
    in_background = torch.cat([ct * background, pet * background, decoder], 1)
    return (
        whole
        + gains(tamw.tumor_gains, in_tumor) * in_tumor
        - gains(tamw.background_gains, in_background) * in_background
    )


def test_closed_form_equals_the_formula():
    tamw, inputs = make()

    torch.testing.assert_close(tamw(**inputs), literal(tamw, **inputs), rtol=1e-10, atol=1e-12)


def test_a_coarser_decoder_counts_as_if_up_sampled_first():
    tamw, inputs = make(size=(4, 6, 7))
    inputs["decoder"] = torch.randn(2, 8, 2, 3, 4, dtype=torch.float64)

    up_sampled = inputs | {"decoder": resize(inputs["decoder"], (4, 6, 7))}

    torch.testing.assert_close(tamw(**inputs), literal(tamw, **up_sampled), rtol=1e-10, atol=1e-12)


def test_zero_gains_leave_features_as_they_are():
    tamw, inputs = make()
    for gains in (tamw.tumor_gains, tamw.background_gains):
        torch.nn.init.zeros_(gains.fc2.weight)
        torch.nn.init.zeros_(gains.fc2.bias)

    assert torch.equal(tamw(**inputs), torch.cat([inputs["ct"], inputs["pet"], inputs["decoder"]], 1))


def test_tumor_gain_of_one_doubles_ct_exactly_where_the_tumor_is():
    tamw, inputs = make()
    for parameter in tamw.parameters():
        torch.nn.init.zeros_(parameter)
    torch.nn.init.constant_(tamw.tumor_gains.fc2.bias[:4], 100.0)  # tanh(100) = 1, CT channels only
    inputs["tumor"] = (inputs["tumor"] > 0.5).double()

    ct, pet, _ = tamw(**inputs).split((4, 4, 8), dim=1)

    assert torch.equal(ct, inputs["ct"] * (1 + inputs["tumor"]))
    assert torch.equal(pet, inputs["pet"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_pooling_does_not_leave_the_range_of_half_precision(dtype):
    """1,000,000 voxels of 100 sum to 1e8, far beyond float16's 65504; their mean is 100."""
    tamw, inputs = make(torch.float32, size=(100, 100, 100))
    inputs = {name: (value * 0 + 100 if name in ("ct", "pet", "decoder") else value) for name, value in inputs.items()}
    expected = tamw(**inputs)

    half = {name: value.to(dtype) if name in ("ct", "pet", "decoder") else value for name, value in inputs.items()}
    with torch.autocast("cpu", dtype=dtype):
        given = tamw(**half)

    assert given.dtype == dtype
    torch.testing.assert_close(given.float(), expected, rtol=0.02, atol=0.5)


def make_gated(size=(4, 6, 8)):
    torch.manual_seed(0)
    tamw, coarse = GatedTAMW(4, 8).double(), tuple(extent // 2 for extent in size)
    ct, pet = torch.randn(2, 2, 4, *size, dtype=torch.float64)
    inputs = {"ct": ct, "pet": pet, "decoder": torch.randn(2, 8, *coarse, dtype=torch.float64)}
    inputs |= {"tumor": torch.rand(2, 1, *size).double(), "coarse_tumor": torch.rand(2, 1, *coarse).double()}
    return tamw, inputs


def test_gated_tamw_equals_its_formula():
    tamw, inputs = make_gated()
    torch.nn.init.normal_(tamw.fc2.weight)
    p, q = inputs["tumor"], inputs["coarse_tumor"]

    def means(x, p):
        return (x * p).sum((2, 3, 4)) / (p.sum((2, 3, 4)) + 1)

    weighed = ((inputs["ct"], p), (inputs["pet"], p), (inputs["decoder"], q))
    pooled = torch.cat([means(x, p) for x, p in weighed] + [means(x, 1 - p) for x, p in weighed], 1)
    a = tamw.fc2(tamw.fc1(pooled).tanh())[:, :, None, None, None]
    g, s = a[:, :16].tanh(), a[:, 16:]
    expected = [
        inputs["ct"] * (1 + g[:, :4] * p),
        inputs["pet"] * (1 + g[:, 4:8] * p),
        resize(inputs["decoder"] * (1 + g[:, 8:] * q) + s * q, (4, 6, 8)),
    ]

    torch.testing.assert_close(tamw(**inputs), torch.cat(expected, 1), rtol=1e-10, atol=1e-12)


def test_gated_gains_start_at_zero_and_learn():
    """fc2 alone has a gradient in the first step, fc1 from the second one on: nothing stays dead."""
    tamw, inputs = make_gated()
    optimizer = torch.optim.AdamW(tamw.parameters(), 1e-2)
    before = tamw.fc1.weight.clone()
    assert not any(gains.any() for gains in tamw.gains(**inputs))

    for _ in range(2):
        optimizer.zero_grad()
        tamw(**inputs).square().sum().backward()
        optimizer.step()

    assert tamw.fc2.weight.abs().sum() > 0
    assert not torch.allclose(tamw.fc1.weight, before, atol=1e-3)


def test_means_are_those_of_tumor_and_background_however_small_the_tumor_is():
    """3 in the tumor's 8 of 8,000 voxels and 1 elsewhere; one voxel more in the divisor takes a ninth away."""
    tumor = torch.zeros(1, 1, 20, 20, 20, dtype=torch.float64)
    tumor[:, :, 4:6, 5:7, 6:8] = 1

    in_tumor, in_background = means_by_share(1 + 2 * tumor, tumor).flatten()

    assert in_tumor.item() == pytest.approx(3 * 8 / 9)
    assert in_background.item() == pytest.approx(1, rel=1e-3)


def test_a_patch_without_tumor_has_finite_gains():
    tamw, inputs = make_gated()
    torch.nn.init.normal_(tamw.fc2.weight)
    inputs |= {name: torch.zeros_like(inputs[name]) for name in ("tumor", "coarse_tumor")}

    assert all(each.isfinite().all() for each in tamw.gains(**inputs))
    assert torch.equal(
        tamw(**inputs), torch.cat([inputs["ct"], inputs["pet"], resize(inputs["decoder"], (4, 6, 8))], 1)
    )
