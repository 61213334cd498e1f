"""The network equals the authors' release, whose outputs and gradients were recorded in float64."""

import pytest
import torch
from torch import nn

from h2aseg_nnunet.network.h2aseg import H2ASeg
from h2aseg_nnunet.network.release import load_release, release_names
from h2aseg_nnunet.network.resize import resize

TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-4}


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def dtype(request):
    return request.param


def max_error(given: torch.Tensor, expected: torch.Tensor) -> float:
    return ((given - expected).abs().max() / expected.abs().max()).item()


def load(reference, dtype, deep_supervision=True) -> H2ASeg:
    weights = reference.group("weights/", dtype)
    return load_release(weights, window_size=reference.window_size, deep_supervision=deep_supervision).eval()


def test_logits_of_all_stages_equal_the_release(reference, dtype):
    logits = load(reference, dtype)(reference.image(dtype))

    assert len(logits) == 5
    for stage, given in enumerate(logits, start=1):
        assert given.dtype == dtype
        assert max_error(given, reference[f"output/logits_stage{stage}"]) < TOLERANCE[dtype]


def test_full_resolution_prediction_equals_the_release(reference, dtype):
    prediction = load(reference, dtype, deep_supervision=False)(reference.image(dtype))

    assert max_error(prediction, reference["output/logits_stage1_fullres"]) < TOLERANCE[dtype]


def test_encoder_features_equal_the_release(reference, dtype):
    network = load(reference, dtype)
    ct, pet = reference.image(dtype).split(1, dim=1)

    features = network.encoder(ct=ct, pet=pet)

    for stage in (2, 3, 4, 5):
        ct, pet = features[stage - 1]
        assert max_error(ct, reference[f"output/encoder_ct_stage{stage}"]) < TOLERANCE[dtype]
        assert max_error(pet, reference[f"output/encoder_pet_stage{stage}"]) < TOLERANCE[dtype]


def test_attention_between_windows_equals_the_release(reference, dtype):
    network = load(reference, dtype)
    outputs = []
    attention = network.encoder.stages[1].interaction.between_windows.attention
    attention.register_forward_hook(lambda module, inputs, output: outputs.extend(output))

    network(reference.image(dtype))

    for tokens, name in zip(outputs, ("ct", "pet"), strict=True):
        expected = reference[f"output/sa2_inter_{name}"].flatten(2).mT  # the release keeps maps, here are tokens
        assert max_error(tokens.squeeze(1), expected) < TOLERANCE[dtype]


def test_weighted_features_equal_the_release(reference, dtype):
    network = load(reference, dtype)
    outputs = []
    for stage in network.decoder.stages:
        stage.tamw.register_forward_hook(lambda module, inputs, output: outputs.append(output))

    network(reference.image(dtype))

    for stage, given in zip((4, 3, 2), outputs, strict=False):
        assert max_error(given, reference[f"output/tamw_stage{stage}"]) < TOLERANCE[dtype]


def test_gradients_equal_the_release(reference):
    network = load(reference, torch.float64)
    image = reference.image(torch.float64).requires_grad_()

    loss = sum(
        (resize(logits, image.shape[2:]) * reference[f"grad_probe/stage{stage}_fullres"]).mean()
        for stage, logits in enumerate(network(image), start=1)
    )
    loss.backward()

    def relative_error(given, expected):
        return ((given - expected).norm() / expected.norm()).item()

    assert loss.item() == pytest.approx(reference["grad/loss"].item(), rel=1e-6)
    assert relative_error(image.grad[:, :1], reference["grad/ct"]) < 1e-4
    assert relative_error(image.grad[:, 1:], reference["grad/pet"]) < 1e-4
    recorded = reference.group("grad/weights/", torch.float64)
    scale = max(gradient.norm() for gradient in recorded.values())
    compared = set()
    for name, parts in release_names(network).items():
        given = network.get_parameter(name).grad.flatten(1) if "attention" in name else network.get_parameter(name).grad
        expected = torch.cat([recorded[part].reshape(recorded[part].shape[0], *given.shape[1:]) for part in parts])
        compared.update(parts)
        if expected.norm() < 1e-6 * scale:  # a bias right before instance norm: zero but for rounding
            assert given.norm() < 1e-6 * scale
        else:
            assert relative_error(given, expected) < 1e-4, name
    assert compared == recorded.keys()


def test_published_configuration_has_7164869_parameters():
    network = H2ASeg(2, 5, [8, 16, 32, 64, 128], nn.Conv3d, 3, 2, 2, patch_size=(128, 128, 64))

    assert sum(parameter.numel() for parameter in network.parameters()) == 7_164_869


def test_loaded_network_can_be_trained(reference):
    assert all(parameter.requires_grad for parameter in load(reference, torch.float32).parameters())


def test_incomplete_state_dict_names_the_missing_key(reference):
    weights = reference.group("weights/", torch.float32)
    del weights["encoder.sa3.inter_window_attention.sa_pet.out.weight"]

    with pytest.raises(ValueError, match=r"missing \['encoder.sa3.inter_window_attention.sa_pet.out.weight'\]"):
        load_release(weights, reference.window_size)


@pytest.mark.parametrize("name", ["encoder.conv3_ct.conv_skip.2.weight", "decoder.output1.conv.2.weight"])
def test_missing_weight_that_tells_the_width_is_named(reference, name):
    weights = reference.group("weights/", torch.float32)
    del weights[name]

    with pytest.raises(ValueError, match=name):
        load_release(weights, reference.window_size)


def test_unexpected_key_is_named(reference):
    weights = reference.group("weights/", torch.float32) | {"decoder.extra.weight": torch.zeros(1)}

    with pytest.raises(ValueError, match=r"unexpected \['decoder.extra.weight'\]"):
        load_release(weights, reference.window_size)


def test_a_part_of_another_shape_is_named_although_its_sum_would_fit(reference):
    """The release's query and key are stored as one matrix here: one row too many and one too few must not pass."""
    weights = reference.group("weights/", torch.float32)
    query, key = (f"encoder.sa4.sa_ct.{part}_conv_target_target.weight" for part in ("Q", "K"))
    weights[query], weights[key] = torch.cat([weights[query], weights[key][:1]]), weights[key][1:]

    with pytest.raises(ValueError, match=rf"{query}: expected shape \(12, 12\), found \(13, 12, 1, 1, 1\)"):
        load_release(weights, reference.window_size)


def test_a_part_with_other_inputs_is_named(reference):
    weights = reference.group("weights/", torch.float32)
    name = "encoder.sa4.sa_ct.V_conv_source_target.weight"
    weights[name] = weights[name][:, :5]

    with pytest.raises(ValueError, match=rf"{name}: expected shape \(12, 12\), found \(12, 5, 1, 1, 1\)"):
        load_release(weights, reference.window_size)


def test_foreign_state_dict_is_refused():
    with pytest.raises(ValueError, match=r"no state_dict of the H2ASeg release.*weight"):
        load_release(nn.Conv3d(1, 1, 1).state_dict())


def test_window_size_that_does_not_fit_is_explained(reference):
    with pytest.raises(ValueError, match=r"win_merge_ct.weight.*window_size=\(8, 8, 4\)"):
        load_release(reference.group("weights/", torch.float32))
