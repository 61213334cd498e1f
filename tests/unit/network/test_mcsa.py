import itertools

import torch
from torch import nn
from torch.nn import functional as F

from h2aseg_nnunet.network.attention import to_tokens
from h2aseg_nnunet.network.mcsa import MCSA

UNEVEN = (7, 10, 13)


def make_mcsa(window=(4, 8, 8), merge=(4, 4, 4)):
    torch.manual_seed(0)
    return MCSA(nn.Conv3d, 8, window, merge).double()


def make_maps(size=UNEVEN):
    torch.manual_seed(1)
    return torch.randn(2, 2, 8, *size, dtype=torch.float64).unbind(0)


def blocks(size, block):
    """Slices of every block; the last along an axis ends where the map ends."""
    starts = (range(0, extent, b) for extent, b in zip(size, block, strict=True))
    for corner in itertools.product(*starts):
        yield tuple(slice(c, min(c + b, extent)) for c, b, extent in zip(corner, block, size, strict=True))


def test_windows_read_real_positions_only():
    """Proof by doing without padding: every ragged window alone gives the same result."""
    within = make_mcsa().within_windows
    ct, pet = make_maps()

    ct_out, pet_out = within(ct=ct, pet=pet)

    for block in blocks(UNEVEN, within.window_size):
        here = (slice(None), slice(None), *block)
        ct_alone, pet_alone = within.attention(ct=to_tokens(ct[here]), pet=to_tokens(pet[here]))
        torch.testing.assert_close(to_tokens(ct_out[here]), ct_alone)
        torch.testing.assert_close(to_tokens(pet_out[here]), pet_alone)


def test_merged_tokens_hold_real_positions_only():
    """Proof by doing without padding: each token is the kernel's overlap with the map times the map."""
    between = make_mcsa().between_windows
    ct, pet = make_maps()
    seen = []
    between.attention.register_forward_pre_hook(lambda module, args, kwargs: seen.append(kwargs), with_kwargs=True)

    between(ct=ct, pet=pet)

    tokens = seen[0]["ct"].squeeze(1).unbind(1)
    for token, block in zip(tokens, blocks(UNEVEN, between.merge_size), strict=True):
        content = ct[(slice(None), slice(None), *block)]
        d, h, w = content.shape[2:]
        kernel = between.merge_ct.weight[..., :d, :h, :w]
        torch.testing.assert_close(token, torch.einsum("oidhw,bidhw->bo", kernel, content) + between.merge_ct.bias)


def test_merged_map_is_enlarged_as_if_no_axis_ended_early():
    """On an axis of 7 with merge 4 two tokens span 8 positions; the eighth is dropped, the seven are unchanged."""
    between = make_mcsa(merge=(4, 4, 4)).between_windows
    merged = torch.randn(1, 8, 2, 3, 4, dtype=torch.float64)

    enlarged = between._enlarge(merged, UNEVEN)

    whole = F.interpolate(merged, size=(8, 12, 16), mode="trilinear", align_corners=True)
    assert torch.equal(enlarged, whole[:, :, :7, :10, :13])


def test_ct_output_depends_on_pet_and_pet_output_on_ct():
    mcsa = make_mcsa()
    ct, pet = (stream.requires_grad_() for stream in make_maps())

    ct_out, pet_out = mcsa(ct=ct, pet=pet)

    assert ct_out.shape == pet_out.shape == ct.shape
    assert torch.autograd.grad(ct_out.square().sum(), pet, retain_graph=True)[0].abs().sum() > 0
    assert torch.autograd.grad(pet_out.square().sum(), ct)[0].abs().sum() > 0


def test_a_map_smaller_than_the_window_is_one_window():
    small = make_mcsa(window=(4, 8, 8)).within_windows
    exact = make_mcsa(window=(3, 5, 2)).within_windows
    ct, pet = make_maps(size=(3, 5, 2))

    torch.testing.assert_close(small(ct=ct, pet=pet), exact(ct=ct, pet=pet))


def test_the_residual_form_adds_a_tenth_of_what_attention_reads_at_first():
    torch.manual_seed(0)
    residual = MCSA(nn.Conv3d, 8, (4, 8, 8), (4, 4, 4), token_norm=True, residual=True).double()
    ct, pet = make_maps()
    unscaled = MCSA(nn.Conv3d, 8, (4, 8, 8), (4, 4, 4), token_norm=True, residual=True).double()
    unscaled.load_state_dict(residual.state_dict())
    for name, parameter in unscaled.named_parameters():
        if name.endswith("layer_scale"):
            nn.init.ones_(parameter)

    ct_tenth, pet_tenth = residual.between_windows(ct=ct, pet=pet)
    ct_update, pet_update = unscaled.between_windows(ct=ct, pet=pet)
    ct_out, pet_out = residual(ct=ct, pet=pet)
    ct_within, pet_within = residual.within_windows(ct=ct + ct_tenth, pet=pet + pet_tenth)

    torch.testing.assert_close(ct_tenth, ct_update / 10)
    torch.testing.assert_close(pet_tenth, pet_update / 10)
    torch.testing.assert_close(ct_out, ct + ct_tenth + ct_within)
    torch.testing.assert_close(pet_out, pet + pet_tenth + pet_within)


def test_the_residual_form_with_scales_of_zero_is_the_identity():
    mcsa = MCSA(nn.Conv3d, 8, (4, 8, 8), (4, 4, 4), residual=True).double()
    for name, parameter in mcsa.named_parameters():
        if name.endswith("layer_scale"):
            nn.init.zeros_(parameter)
    ct, pet = make_maps()

    assert all(torch.equal(a, b) for a, b in zip(mcsa(ct=ct, pet=pet), (ct, pet), strict=True))
