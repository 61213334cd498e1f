import pytest
import torch
from torch import nn

from h2aseg_nnunet.modalities import CT, PET
from h2aseg_nnunet.network.readings import GainTally, reading_decoder, unwrap
from tests.models import make_network, make_plans


@pytest.fixture
def network():
    return make_network(make_plans()).eval()


@pytest.fixture
def x():
    return torch.randn(2, 2, 13, 16, 12, generator=torch.Generator().manual_seed(0))


def num_hooks(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules())


@torch.no_grad()
def test_outputs_with_hooks_are_those_without(network, x):
    expected = network(x)

    with reading_decoder(network):
        outputs = network(x)

    assert all(torch.equal(a, b) for a, b in zip(outputs, expected, strict=True))


@torch.no_grad()
def test_logits_are_read_by_stage_the_first_at_full_resolution(network, x):
    with reading_decoder(network) as readings:
        outputs = network(x)

    assert sorted(readings.logits) == [1, 2, 3]
    assert all(torch.equal(readings.logits[stage], output) for stage, output in enumerate(outputs, start=1))


@torch.no_grad()
def test_scale_is_the_mean_factor_by_which_tamw_changes_features(network, x):
    passed = {}
    for stage, module in ((2, network.decoder.stages[0]), (1, network.decoder.stages[1])):
        module.tamw.register_forward_hook(
            lambda tamw, args, features, output, stage=stage: passed.update({stage: (tamw, features, output)}),
            with_kwargs=True,
        )
    with reading_decoder(network) as readings:
        network(x)

    for stage, (tamw, features, output) in passed.items():
        for modality, name in ((CT, "ct"), (PET, "pet")):
            before, after = features[name], output.split(tamw.parts, dim=1)[modality]
            factor = (after.double() / before.double()).mean(1, keepdim=True)
            torch.testing.assert_close(readings.tamw[stage].scale(modality).double(), factor, atol=1e-4, rtol=1e-4)


def test_no_hook_is_left_behind(network, x):
    with reading_decoder(network):
        assert num_hooks(network) == 5  # two stages with TAMW, three heads

    assert num_hooks(network) == 0


def test_no_hook_is_left_behind_by_an_error(network):
    with pytest.raises(ValueError, match="The input has 3 channels"), reading_decoder(network):
        network(torch.zeros(1, 3, 16, 16, 16))

    assert num_hooks(network) == 0


def test_another_network_is_refused():
    with pytest.raises(ValueError, match="Conv3d is not an H2ASeg"):
        unwrap(nn.Conv3d(1, 1, 1))


@torch.no_grad()
def test_windows_weigh_by_the_tumor_that_they_hold(network):
    """Gains of two windows, w1 = 0.1 with a tumor share of 0.9 and w1 = 0.5 with 0.1: 0.14 together."""
    tally = GainTally()
    for share, gain in ((0.9, 0.1), (0.1, 0.5)):
        with reading_decoder(network) as readings:
            network(torch.zeros(1, 2, 16, 16, 16))
        reading = readings.tamw[1]
        tally.add(
            {
                1: reading._replace(
                    tumor=torch.full((1, 1, 2, 2, 2), share), w1=reading.w1 * 0 + gain, w0=reading.w0 * 0 + gain
                )
            }
        )

    (mean,) = tally.means()

    assert mean.stage == 1
    assert mean.tumor == pytest.approx({"CT": 0.14, "PET": 0.14}, abs=1e-5)
    assert mean.background == pytest.approx({"CT": -0.46, "PET": -0.46}, abs=1e-5)
    assert mean.decoder == pytest.approx(0, abs=1e-5)
