import torch
from torch import nn

from h2aseg_nnunet.network.decoder import tumor_probability
from h2aseg_nnunet.network.h2aseg import H2ASeg
from h2aseg_nnunet.network.resize import resize


def make(num_classes=2, regions=False, **options):
    torch.manual_seed(0)
    settings = {"patch_size": (8, 8, 8), "deep_supervision": True, "regions": regions} | options
    return H2ASeg(2, 3, [4, 8, 8], nn.Conv3d, 3, 2, num_classes, **settings)


def test_every_foreground_class_is_tumor():
    logits = torch.log(torch.tensor([0.5, 0.2, 0.3])).reshape(1, 3, 1, 1)

    probability = tumor_probability(logits, logits.shape[2:])

    torch.testing.assert_close(probability.flatten(), torch.tensor([0.5]))
    assert probability.shape == (1, 1, 1, 1)


def test_two_classes_give_the_softmax():
    logits = torch.randn(2, 2, 3, 4, 5)

    torch.testing.assert_close(tumor_probability(logits, logits.shape[2:]), logits.softmax(1)[:, 1:])


def test_two_classes_are_up_sampled_as_logits():
    logits = torch.randn(2, 2, 3, 4, 5, dtype=torch.float64)

    expected = resize(logits, (6, 7, 9)).softmax(1)[:, 1:]

    torch.testing.assert_close(tumor_probability(logits, (6, 7, 9)), expected)


def test_the_largest_region_is_tumor():
    """Sigmoids of 0, log 3 and -1 are 0.5, 0.75 and 0.27; they do not add to 1."""
    logits = torch.tensor([0.0, 3.0, 0.36788]).log().reshape(1, 3, 1, 1)
    logits[0, 0] = 0.0

    torch.testing.assert_close(
        tumor_probability(logits, logits.shape[2:], regions=True).flatten(), torch.tensor([0.75])
    )


def test_classes_and_regions_of_the_same_weights_predict_differently():
    classes, regions = make(num_classes=3), make(num_classes=3, regions=True)
    weights = {name: value for name, value in classes.state_dict().items() if name != "decoder.seg_layers.regions"}
    regions.load_state_dict(weights | {"decoder.seg_layers.regions": torch.tensor(True)})
    x = torch.randn(1, 2, 8, 8, 8)

    *finer, deepest = classes(x)
    *finer_regions, deepest_regions = regions(x)

    assert torch.equal(deepest, deepest_regions)  # no TAMW before it
    assert not any(torch.allclose(a, b) for a, b in zip(finer, finer_regions, strict=True))


def test_the_norm_after_tamw_divides_out_what_scales_all_positions_alike():
    """Decoder features are scaled as a whole; CT and PET are where the gains of tumour and background are opposite."""
    network = make().double()
    stage = network.decoder.stages[-1]  # 4 features of CT and of PET, 16 of the decoder
    ct, pet = torch.randn(2, 1, 4, 8, 8, 8, dtype=torch.float64)
    decoder, logits = torch.randn(1, 16, 4, 4, 4).double(), torch.randn(1, 2, 4, 4, 4).double()
    gains_of_all = (stage.tamw.tumor_gains, stage.tamw.background_gains)

    def output(tumor, background):
        for gains, values in zip(gains_of_all, (tumor, background), strict=True):
            nn.init.zeros_(gains.fc2.weight)
            gains.fc2.bias.data = torch.atanh(torch.tensor(values, dtype=torch.float64))
        return stage(ct=ct, pet=pet, decoder=decoder, logits=logits, regions=False)

    nothing = output([0.0] * 24, [0.0] * 24)
    everywhere = output([0.3] * 24, [-0.3] * 24)  # CT, PET: 1 + 0.3 p1 + 0.3 p0 = 1.3; decoder: 1.6
    in_tumor = output([0.3] * 8 + [0.0] * 16, [0.0] * 24)

    torch.testing.assert_close(everywhere, nothing, rtol=1e-4, atol=1e-4)
    assert (in_tumor - nothing).abs().max() > 0.01


def test_regions_travel_with_the_weights():
    trained, rebuilt = make(num_classes=3, regions=True), make(num_classes=3)
    x = torch.randn(1, 2, 8, 8, 8)

    rebuilt.load_state_dict(trained.state_dict())

    assert rebuilt.decoder.seg_layers.has_regions
    assert all(torch.equal(a, b) for a, b in zip(trained(x), rebuilt(x), strict=True))
    rebuilt.load_state_dict(make(num_classes=3).state_dict())
    assert not rebuilt.decoder.seg_layers.has_regions


def test_set_regions_is_stored():
    network = make(num_classes=3)

    network.decoder.seg_layers.set_regions(True)

    assert network.state_dict()["decoder.seg_layers.regions"].item() is True
    assert network.decoder.seg_layers.has_regions


def test_a_single_output_is_a_region():
    network = make(num_classes=1)

    logits = network(torch.randn(1, 2, 8, 8, 8))

    assert network.decoder.seg_layers.has_regions
    assert [tuple(stage.shape) for stage in logits] == [(1, 1, 8, 8, 8), (1, 1, 4, 4, 4), (1, 1, 2, 2, 2)]


def test_of_gated_tamw_the_finest_loss_does_not_reach_the_coarser_heads():
    for gated in (False, True):
        network = make(gated_tamw=gated)

        network(torch.randn(1, 2, 8, 8, 8))[0].square().sum().backward()

        *coarser, finest = network.decoder.seg_layers
        assert finest.conv.weight.grad is not None
        assert all((head.conv.weight.grad is None) == gated for head in coarser)


def test_without_deep_supervision_the_loss_reaches_every_head_through_gated_tamw():
    network = make(gated_tamw=True, deep_supervision=False)
    for stage in network.decoder.stages:
        nn.init.normal_(stage.tamw.fc2.weight)

    network(torch.randn(1, 2, 8, 8, 8)).square().sum().backward()

    assert all(head.conv.weight.grad.abs().sum() > 0 for head in network.decoder.seg_layers)


def test_gated_tamw_starts_as_the_decoder_without():
    gated, without = make(gated_tamw=True), make(tamw=False)
    without.load_state_dict(gated.state_dict(), strict=False)
    x = torch.randn(1, 2, 8, 8, 8)

    for a, b in zip(gated(x), without(x), strict=True):
        torch.testing.assert_close(a, b)
