import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from h2aseg_nnunet.network.h2aseg import H2ASeg
from h2aseg_nnunet.network.layout import INTERACTIONS, stage_sizes


@st.composite
def plans(draw):
    """A random plan: 2 or 3 dimensions, 2 to 9 stages, anisotropic, with maps that nothing divides."""
    dimension = draw(st.sampled_from([2, 3]))
    n_stages = draw(st.integers(2, 9))
    per_stage = st.lists(st.sampled_from([1, 2]), min_size=dimension, max_size=dimension)
    strides = [[1] * dimension, *draw(st.lists(per_stage, min_size=n_stages - 1, max_size=n_stages - 1))]
    kernel = st.lists(st.sampled_from([1, 3]), min_size=dimension, max_size=dimension)
    patch_size = draw(st.lists(st.integers(1, 24 if dimension == 2 else 10), min_size=dimension, max_size=dimension))
    input_channels = draw(st.integers(2, 4))
    window = st.lists(st.integers(2, 5), min_size=dimension, max_size=dimension)
    return {
        "input_channels": input_channels,
        "n_stages": n_stages,
        "features_per_stage": draw(st.lists(st.integers(4, 9), min_size=n_stages, max_size=n_stages)),
        "conv_op": {2: nn.Conv2d, 3: nn.Conv3d}[dimension],
        "kernel_sizes": draw(st.lists(kernel, min_size=n_stages, max_size=n_stages)),
        "strides": strides,
        "num_classes": draw(st.integers(2, 4)),
        "conv_bias": draw(st.booleans()),
        "deep_supervision": True,
        "patch_size": patch_size,
        "interactions": draw(st.none() | st.lists(st.sampled_from(INTERACTIONS), min_size=n_stages, max_size=n_stages)),
        "window_size": draw(st.none() | window),
        "ct_channels": [0, *range(2, input_channels)],
        "pet_channels": [1, *range(2, input_channels)],
        "encoder_dropout": draw(st.sampled_from([0.0, 0.3])),
        "attention_dropout": draw(st.sampled_from([0.0, 0.3])),
    }


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plans())
def test_any_plan_gives_finite_logits_per_stage_and_a_gradient_for_every_parameter(plan):
    torch.manual_seed(0)
    network = H2ASeg(**plan)
    x = torch.randn(2, plan["input_channels"], *plan["patch_size"])

    outputs = network(x)
    sum((output * torch.randn_like(output)).sum() for output in outputs).backward()

    expected = stage_sizes(plan["patch_size"], plan["strides"])
    assert [tuple(output.shape) for output in outputs] == [(2, plan["num_classes"], *size) for size in expected]
    assert all(output.isfinite().all() for output in outputs)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
