import torch
from torch import nn
from torch.nn import functional as F

from h2aseg_nnunet.network.blocks import NormPReLU
from h2aseg_nnunet.network.h2aseg import H2ASeg
from h2aseg_nnunet.network.norm_prelu import AffinePReLU, norm_prelu_convs


def make(**changes):
    torch.manual_seed(0)
    return H2ASeg(
        2, 3, [4, 8, 8], nn.Conv3d, 3, 2, 2, patch_size=(8, 8, 8), interactions=["none", "mcsa", "global"],
        window_size=(2, 2, 2), **changes,
    )  # fmt: skip


def test_every_norm_gets_scale_and_shift_and_nothing_else_changes():
    plain, affine = make(), make(norm_affine=True)

    slopes = {name.removesuffix(".weight") for name, value in plain.named_parameters() if value.shape == (1,)}
    added = {f"{name}.{each}" for name in slopes for each in ("scale", "shift")}
    assert set(affine.state_dict()) == set(plain.state_dict()) | added


def test_it_starts_as_the_release():
    """Scale 1 and shift 0 change nothing, up to the rounding of another kernel."""
    plain, affine = make(), make(norm_affine=True)
    image = torch.randn(2, 2, 8, 8, 8)

    affine.load_state_dict(affine.state_dict() | plain.state_dict())
    torch.testing.assert_close(affine(image), plain(image), atol=1e-4, rtol=1e-4)


def test_scale_and_shift_act_between_norm_and_prelu():
    activation = AffinePReLU(2)
    with torch.no_grad():
        activation.scale.copy_(torch.tensor([2.0, -1.0]))
        activation.shift.copy_(torch.tensor([0.5, 1.0]))
    conv = nn.Conv2d(2, 3, 1)
    x = torch.randn(2, 2, 3, 4)

    scale, shift = (parameter.detach().view(1, 2, 1, 1) for parameter in (activation.scale, activation.shift))
    changed = F.instance_norm(x) * scale + shift
    expected = torch.where(changed > 0, changed, 0.25 * changed)
    norm = NormPReLU()
    norm.activation = activation
    torch.testing.assert_close(norm(x), expected)
    torch.testing.assert_close(norm_prelu_convs(x, [activation], [conv])[0], conv(expected))


def test_a_single_position_becomes_the_shift():
    activation = AffinePReLU(2)
    nn.init.constant_(activation.shift, 3.0)

    torch.testing.assert_close(activation.after_norm(torch.randn(1, 2, 1, 1, 1)), torch.full((1, 2, 1, 1, 1), 3.0))


def test_every_scale_and_shift_learns():
    network = make(norm_affine=True)
    logits = network(torch.randn(1, 2, 8, 8, 8))
    (logits * torch.randn_like(logits)).sum().backward()

    unused = {"decoder.seg_layers.0.", "decoder.seg_layers.1."}  # heads of coarser stages drive TAMW by their softmax
    for name, value in network.named_parameters():
        if name.endswith((".scale", ".shift")) and not any(name.startswith(prefix) for prefix in unused):
            assert value.grad.abs().sum() > 0, name
