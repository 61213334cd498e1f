"""The plain norm; the kernels hold the same rules (tests/unit/network/kernels)."""

import pytest
import torch
from torch.nn import functional as F

from h2aseg_nnunet.network.norm import instance_norm


@pytest.mark.parametrize("size", [(5, 4), (3, 5, 4)])
def test_it_is_pytorchs_instance_norm(size):
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    probe = torch.randn_like(x)

    given, expected = instance_norm(x), F.instance_norm(x)

    torch.testing.assert_close(given, expected)
    torch.testing.assert_close(
        *(torch.autograd.grad((normalized * probe).sum(), x)[0] for normalized in (given, expected))
    )


def test_two_positions_become_minus_one_and_one():
    torch.testing.assert_close(instance_norm(torch.tensor([[[[2.0, 6.0]]]])), torch.tensor([[[[-1.0, 1.0]]]]))


def test_a_constant_channel_gets_no_gradient_and_leaves_the_others_theirs():
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    probe = torch.randn_like(x)
    whole, constant = x.clone().requires_grad_(), x.clone()
    constant[:, 1] = 7
    constant.requires_grad_()

    (expected,) = torch.autograd.grad((instance_norm(whole) * probe).sum(), whole)
    (given,) = torch.autograd.grad((instance_norm(constant) * probe).sum(), constant)

    assert not given[:, 1].any()
    torch.testing.assert_close(given[:, ::2], expected[:, ::2])


def test_a_single_position_becomes_zero_and_passes_no_gradient():
    x = torch.full((1, 2, 1, 1, 1), 7.0, requires_grad=True)

    output = instance_norm(x)
    output.sum().backward()

    assert not output.any() and not x.grad.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_under_autocast_it_has_autocasts_type_and_statistics_of_float32(dtype):
    """A mean of 100 has steps of a half in bfloat16."""
    x = (torch.randn(1, 2, 8, 8, 8) + 100).to(dtype).float()

    with torch.autocast("cpu", dtype):
        given = instance_norm(x)

    assert given.dtype == dtype
    torch.testing.assert_close(given.float(), F.instance_norm(x), rtol=0.01, atol=0.01)
