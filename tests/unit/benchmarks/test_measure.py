import time

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.floor import OperationCosts, kind_of
from benchmarks.measure import (
    bytes_saved_for_backward,
    count_flop,
    count_parameters,
    count_saved,
    count_step_flop,
    time_side_by_side,
)
from benchmarks.networks import DEFAULT, DEFAULT_NARROW, PATCH, plain, residual_encoder
from benchmarks.scaling import growth_exponent

INPUT = (1, 2, *PATCH)


def two_layers() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16, bias=False), nn.Sigmoid(), nn.Linear(16, 4, bias=False))


def test_saved_bytes_are_the_input_and_the_activation_counted_once():
    """Linear saves its input; sigmoid its output, which is the next layer's input too. Weights do not count."""
    saved = bytes_saved_for_backward(two_layers(), torch.randn(5, 8))

    assert saved == {"0": 5 * 8 * 4, "1": 5 * 16 * 4}


def test_flop_of_linear_layers_are_two_per_weight_and_row():
    flop = count_flop(two_layers, (5, 8))

    assert flop["(network)"] == 2 * 5 * (8 * 16 + 16 * 4)
    assert flop["0"] == 2 * 5 * 8 * 16


def test_backward_of_a_linear_layer_on_an_image_costs_as_much_as_forward():
    """Only the weight's gradient: the image needs none."""

    def build() -> nn.Module:
        return nn.Conv2d(3, 7, 1, bias=False)

    forward = 2 * 2 * 4 * 4 * 3 * 7
    assert count_flop(build, (2, 3, 4, 4))["(network)"] == forward
    assert count_step_flop(build, (2, 3, 4, 4)) == 2 * forward


@pytest.mark.parametrize(
    ("build", "parameters", "gflop", "saved_gb"),
    [
        (lambda: plain(DEFAULT_NARROW), 5_648_760, 120.3, 0.90),
        (lambda: plain(DEFAULT), 31_196_458, 479.0, 1.79),
        (lambda: residual_encoder(DEFAULT), 102_350_634, 719.2, None),
    ],
    ids=["plain-16", "plain-32", "ResEnc M"],
)
def test_stock_networks_cost_what_was_measured_on_them_before(build, parameters, gflop, saved_gb):
    assert count_parameters(build) == parameters
    assert count_flop(build, INPUT)["(network)"] / 1e9 == pytest.approx(gflop, abs=0.05)
    if saved_gb:
        assert sum(count_saved(build, INPUT).values()) / 1e9 == pytest.approx(saved_gb, abs=0.005)


def test_runs_are_timed_in_turn():
    order = []

    def run(name: str, seconds: float) -> None:
        order.append(name)
        time.sleep(seconds)

    seconds = time_side_by_side({"a": lambda: run("a", 0.02), "b": lambda: run("b", 0.001)}, rounds=3)

    assert order == ["a", "b"] * 4  # the first round warms up
    assert len(seconds["a"]) == 3 and min(seconds["a"]) >= 0.02 > max(seconds["b"])


def test_growth_exponent_of_a_square_is_two():
    assert growth_exponent([1, 2, 4], [3, 12, 48]) == pytest.approx(2)


def test_floor_of_an_addition_is_its_traffic_and_of_a_product_its_arithmetic():
    with FakeTensorMode(), OperationCosts(flop_per_s=1.0, bytes_per_s=1e9) as costs:
        a, b = torch.empty(10, 20), torch.empty(20, 30)
        a + a
        a @ b

    addition, product = costs.by_kind["elementwise and sums"], costs.by_kind["attention and projections"]
    assert addition["bytes"] == 2 * 10 * 20 * 4  # one read, one written
    assert addition["floor_s"] == pytest.approx(addition["bytes"] / 1e9)
    assert product["flop"] == product["floor_s"] == 2 * 10 * 20 * 30


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("convolution_backward", "convolution"),
        ("_scaled_dot_product_flash_attention_for_cpu", "attention and projections"),
        ("native_batch_norm", "norm"),
        ("upsample_trilinear3d", "interpolation"),
        ("_prelu_kernel", "PReLU"),
        ("cat", "layout and copies"),
        ("mul", "elementwise and sums"),
    ],
)
def test_operations_are_sorted_by_kind(operation, kind):
    assert kind_of(operation) == kind
