import math

import pytest
import torch
from torch import nn

from h2aseg_nnunet.network.h2aseg import H2ASeg
from h2aseg_nnunet.network.intensity import CompressSUV


def build(**settings):
    torch.manual_seed(0)
    return H2ASeg(
        2, 2, [4, 8], nn.Conv3d, 3, 2, 2, patch_size=(8, 8, 8), interactions=["none", "mcsa"], window_size=(4, 4, 4),
        **settings,
    )  # fmt: skip


def test_suv_becomes_its_arcsinh_and_other_channels_stay():
    """arcsinh(x) = ln(x + sqrt(x^2 + 1)), here of x = SUV / 2; below 0 it is odd."""
    x = torch.tensor([[[[5.0, -3.0]], [[6.0, -6.0]]]])

    y = CompressSUV(2, [1], scale=2.0)(x)

    assert y[0, 0].tolist() == [[5.0, -3.0]]
    expected = math.log(3 + math.sqrt(10))
    assert y[0, 1, 0].tolist() == pytest.approx([expected, -expected])


def test_faint_lesions_keep_their_contrast_and_hot_organs_do_not_leave_the_scale():
    """From SUV 1 to 2 the value grows by 0.56, a CT scheme whose floor is SUV 2.5 would make it 0."""
    one, two, hundred = CompressSUV(1, [0])(torch.tensor([[[1.0, 2.0, 100.0]]]))[0, 0].tolist()

    assert two - one == pytest.approx(0.562, abs=1e-3)
    assert hundred < 5.4


def test_it_is_the_networks_first_operation():
    torch.manual_seed(0)
    x = torch.rand(1, 2, 8, 8, 8) * 10
    plain, compressing = build(), build(suv_channels=[1], suv_scale=3.0)
    compressed = x.clone()
    compressed[:, 1] = torch.asinh(x[:, 1] / 3.0)

    assert torch.equal(compressing(x), plain(compressed))


def test_the_scale_travels_with_the_weights():
    trained, fresh = build(suv_channels=[1], suv_scale=3.0), build(suv_channels=[1])

    fresh.load_state_dict(trained.state_dict())

    assert float(fresh.intensity.scale) == 3.0


def test_without_such_a_channel_nothing_is_there():
    network = build()

    assert network.intensity is None
    assert not any("intensity" in name for name in network.state_dict())
    assert network.state_dict().keys() | {"intensity.scale"} == build(suv_channels=[1]).state_dict().keys()


def test_it_compiles_without_a_break():
    network = build(suv_channels=[1])
    x = torch.rand(1, 2, 8, 8, 8)

    assert torch.allclose(torch.compile(network, backend="eager", fullgraph=True)(x), network(x), atol=1e-6)


@pytest.mark.parametrize("settings", [{"suv_channels": [2]}, {"suv_channels": [1], "suv_scale": 0.0}])
def test_channels_and_scales_that_cannot_be_are_refused(settings):
    with pytest.raises(ValueError, match="suv_"):
        build(**settings)
