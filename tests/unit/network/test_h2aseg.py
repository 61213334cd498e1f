import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from torch import nn

from h2aseg_nnunet.network.h2aseg import H2ASeg


def make(**changes) -> H2ASeg:
    torch.manual_seed(0)
    arguments = {
        "input_channels": 2,
        "n_stages": 3,
        "features_per_stage": [4, 8, 8],
        "conv_op": nn.Conv3d,
        "kernel_sizes": 3,
        "strides": 2,
        "num_classes": 2,
        "patch_size": (8, 12, 16),
    }
    return H2ASeg(**arguments | changes)


def test_gradients_are_not_zero_save_for_biases_that_instance_norm_removes():
    network = make(deep_supervision=True, interactions=["none", "mcsa", "global"], window_size=(4, 4, 4)).double()
    x = torch.randn(2, 2, 8, 12, 16, dtype=torch.float64)

    sum((output * torch.randn_like(output)).sum() for output in network(x)).backward()

    without = {name for name, p in network.named_parameters() if p.grad.abs().max() < 1e-12}
    before_norm = {name for name, _ in network.named_parameters() if name.endswith("conv1.bias")}
    last_block = {f"decoder.stages.1.block.{conv}.bias" for conv in ("conv2", "conv_skip")}  # only a head reads it
    assert without == before_norm | last_block


def test_without_deep_supervision_heads_still_learn_through_the_weighting():
    network = make()

    network(torch.randn(1, 2, 8, 12, 16)).square().sum().backward()

    assert all(p.grad.abs().sum() > 0 for p in network.decoder.seg_layers.parameters())


def test_deep_supervision_is_switched_on_the_decoder_and_changes_no_number():
    network = make(deep_supervision=True).eval()
    x = torch.randn(1, 2, 8, 12, 16)

    with torch.no_grad():
        supervised = network(x)
        network.decoder.deep_supervision = False
        prediction = network(x)

    assert [output.shape[2:] for output in supervised] == [(8, 12, 16), (4, 6, 8), (2, 3, 4)]
    assert torch.equal(prediction, supervised[0])


@pytest.mark.parametrize("saved", [True, False])
def test_weights_load_with_supervision_on_or_off(saved):
    weights = make(deep_supervision=saved).state_dict()

    make(deep_supervision=not saved).load_state_dict(weights)


def test_swapping_the_images_and_the_streams_changes_nothing():
    network, swapped = make().eval(), make(ct_channels=[1], pet_channels=[0]).eval()
    x = torch.randn(1, 2, 8, 12, 16)

    assert torch.equal(network(x), swapped(x.flip(1)))
    assert not torch.allclose(network(x), network(x.flip(1)))


def test_by_default_the_first_channel_is_ct_and_the_others_are_pet():
    network = make(input_channels=3)

    assert (network.ct_channels, network.pet_channels) == ([0], [1, 2])


def test_a_shared_channel_reaches_both_streams():
    network = make(input_channels=3, ct_channels=[0, 2], pet_channels=[1, 2])
    seen = []
    network.encoder.register_forward_pre_hook(lambda module, args, kwargs: seen.append(kwargs), with_kwargs=True)
    x = torch.randn(1, 3, 8, 12, 16)

    network(x)

    assert torch.equal(seen[0]["ct"], x[:, [0, 2]])
    assert torch.equal(seen[0]["pet"], x[:, [1, 2]])


def test_inputs_of_other_sizes_than_the_patch_work():
    network = make(patch_size=(16, 32, 32), interactions=["none", "mcsa", "mcsa"]).eval()

    for size in ((16, 32, 32), (3, 5, 4), (20, 40, 33)):
        assert network(torch.randn(1, 2, *size)).shape == (1, 2, *size)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_is_finite_and_close_to_float32(dtype):
    network = make(deep_supervision=True, interactions=["none", "mcsa", "global"], window_size=(4, 8, 8))
    x = 5 * torch.randn(2, 2, 8, 12, 16)
    expected = network(x)[0]

    with torch.autocast("cpu", dtype=dtype):
        outputs = network(x)
    sum(output.float().square().mean() for output in outputs).backward()

    assert all(output.isfinite().all() for output in outputs)
    assert all(p.grad.isfinite().all() for p in network.parameters())
    assert (outputs[0].float() - expected).abs().mean() < 0.05 * expected.abs().mean()


def test_constant_images_give_finite_logits():
    assert make().eval()(torch.zeros(1, 2, 8, 12, 16)).isfinite().all()


@pytest.mark.parametrize(
    ("unet", "blocks"), [(PlainConvUNet, "n_conv_per_stage"), (ResidualEncoderUNet, "n_blocks_per_stage")]
)
def test_keys_of_the_stock_unets_are_accepted(unet, blocks):
    keys = {
        "input_channels": 2,
        "n_stages": 3,
        "features_per_stage": (4, 8, 8),
        "conv_op": nn.Conv3d,
        "kernel_sizes": ((3, 3, 3),) * 3,
        "strides": ((1, 1, 1), (1, 2, 2), (2, 2, 2)),
        blocks: (2, 2, 2),
        "num_classes": 2,
        "n_conv_per_stage_decoder": (2, 2),
        "conv_bias": True,
        "norm_op": nn.InstanceNorm3d,
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
        "deep_supervision": True,
    }
    unet(**keys)

    assert len(H2ASeg(**keys, patch_size=(8, 8, 8))(torch.randn(1, 2, 8, 8, 8))) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_channels": 1}, "needs CT and PET"),
        ({"input_channels": 3, "ct_channels": [0, 2]}, "Give both lists or none"),
        ({"input_channels": 3, "ct_channels": [0], "pet_channels": [1]}, "every channel must feed a stream"),
        ({"ct_channels": [0, 1], "pet_channels": []}, "at least one channel each"),
        ({"features_per_stage": [4, 8]}, r"features_per_stage=\[4, 8\]"),
        ({"features_per_stage": [2, 8, 8]}, "at least 4"),
        ({"n_stages": 1, "features_per_stage": [4]}, "n_stages=1"),
        ({"num_classes": 0}, "num_classes=0"),
        ({"kernel_sizes": [[3, 3, 3]]}, "kernel_sizes"),
        ({"kernel_sizes": 2}, "even extents"),
        ({"strides": [2, 2, 2]}, "must keep full resolution"),
        ({"patch_size": None}, "Give patch_size"),
        ({"patch_size": (8, 8)}, r"patch_size=\[8, 8\]"),
        ({"interactions": ["none", "local", "global"]}, "local"),
        ({"window_size": (4, 4)}, "window_size"),
        ({"norm_op": nn.BatchNorm3d}, "norm_op=BatchNorm3d"),
        ({"dropout_op": nn.Dropout3d}, "dropout_op=Dropout3d"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_an_unknown_argument_is_named():
    with pytest.raises(TypeError, match="no argument n_conv, positions"):
        make(positions=True, n_conv=2, n_conv_per_stage=2)


def test_wrong_number_of_input_channels_is_explained():
    with pytest.raises(ValueError, match=r"The input has 1 channels.*built for 2.*PET from channels \[1\]"):
        make()(torch.randn(1, 1, 8, 12, 16))
