"""The literal network is what it stands for: the release's outputs, gradients and cost."""

from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from benchmarks.literal_h2aseg import LiteralH2ASeg
from benchmarks.measure import count_flop, count_parameters, count_saved
from benchmarks.networks import PATCH
from tests.locations import DATA

REFERENCE_FILE = DATA / "h2aseg_reference.npz"


@pytest.fixture(scope="module")
def reference() -> dict[str, torch.Tensor]:
    with np.load(REFERENCE_FILE) as file:
        return {name: torch.from_numpy(array).double() for name, array in file.items()}


@pytest.fixture(scope="module")
def network(reference) -> LiteralH2ASeg:
    channels, window_size = (reference[f"config/{key}"].int().tolist() for key in ("num_channels", "window_size"))
    network = LiteralH2ASeg(channels, window_size, deep_supervision=True).double().eval()
    network.load_state_dict({k.removeprefix("weights/"): v for k, v in reference.items() if k.startswith("weights/")})
    return network


def relative_error(given: torch.Tensor, expected: torch.Tensor) -> float:
    return ((given - expected).norm() / expected.norm()).item()


def test_logits_equal_the_release(network, reference):
    logits = network(torch.cat([reference["input/ct"], reference["input/pet"]], dim=1))

    for stage, given in enumerate(logits, start=1):
        torch.testing.assert_close(given, reference[f"output/logits_stage{stage}"], atol=1e-5, rtol=1e-5)


def test_gradients_equal_the_release(network, reference):
    image = torch.cat([reference["input/ct"], reference["input/pet"]], dim=1).requires_grad_()
    network.zero_grad()

    loss = sum(
        (
            F.interpolate(logits, size=image.shape[2:], mode="trilinear", align_corners=True)
            * reference[f"grad_probe/stage{stage}_fullres"]
        ).mean()
        for stage, logits in enumerate(network(image), start=1)
    )
    loss.backward()

    assert relative_error(image.grad[:, :1], reference["grad/ct"]) < 1e-4
    assert relative_error(image.grad[:, 1:], reference["grad/pet"]) < 1e-4
    expected = {name: reference[f"grad/weights/{name}"] for name, _ in network.named_parameters()}
    largest = max(gradient.norm() for gradient in expected.values())
    for name, parameter in network.named_parameters():
        if expected[name].norm() < 1e-6 * largest:  # a bias right before instance norm: zero but for rounding
            assert parameter.grad.norm() < 1e-6 * largest
        else:
            assert relative_error(parameter.grad, expected[name]) < 1e-4, name


def test_it_costs_what_was_measured_on_the_release():
    shape = (1, 2, *PATCH)

    assert count_parameters(LiteralH2ASeg) == 7_164_869
    assert count_flop(LiteralH2ASeg, shape)["(network)"] / 1e9 == pytest.approx(228.5, abs=0.05)
    for dropout, saved_gb in ((0.5, 5.47), (0.0, 3.96)):
        saved = count_saved(partial(LiteralH2ASeg, dropout=dropout), shape)
        assert sum(saved.values()) / 1e9 == pytest.approx(saved_gb, rel=0.015)
