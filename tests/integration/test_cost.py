"""What the published network costs can only fall: memory kept for backward, FLOP and parameters.

Counted on tensors without content, which takes seconds; a real run of a small patch proves that the count is right.
"""

from functools import partial

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.measure import bytes_saved_for_backward, count_flop, count_parameters, count_saved
from benchmarks.networks import PATCH, h2aseg
from h2aseg_nnunet.planning.memory import TensorMemory

INPUT = (1, 2, *PATCH)
GB = 1e9
CEILINGS = {  # lower them with every gain
    "saved_gb, dropout 0.5": 0.984,
    "saved_gb, dropout 0": 0.969,
    "gflop": 228.3,
    "parameters": 7_164_869,
}


@pytest.mark.parametrize("dropout", [0.5, 0])
def test_bytes_saved_for_backward_do_not_grow(dropout):
    saved = count_saved(partial(h2aseg, dropout=dropout, deep_supervision=True), INPUT)

    assert sum(saved.values()) / GB <= CEILINGS[f"saved_gb, dropout {dropout}"], saved.most_common(10)


def test_flop_do_not_grow():
    assert count_flop(h2aseg, INPUT)["(network)"] / 1e9 <= CEILINGS["gflop"]


def test_parameters_are_the_published_ones():
    assert count_parameters(h2aseg) == CEILINGS["parameters"]


@pytest.mark.parametrize("dropout", [0.5, 0])
def test_a_real_run_saves_what_is_counted(dropout):
    size = (32, 32, 16)
    build = partial(h2aseg, dropout=dropout, deep_supervision=True, patch_size=size)

    saved = bytes_saved_for_backward(build().train(), torch.randn(2, 2, *size))

    assert saved == count_saved(build, (2, 2, *size))


def test_nothing_but_what_is_counted_outlives_the_forward_pass():
    """Hooks see what autograd saves; a tensor kept elsewhere, say as an attribute of a Function's ctx, would escape."""
    with FakeTensorMode(), TensorMemory() as memory:
        network, x = h2aseg(deep_supervision=True).train(), torch.empty(INPUT)
        before = memory.allocated
        logits = network(x)
        outlives = memory.allocated - before
    output = sum(y.untyped_storage().nbytes() for y in logits)

    assert outlives <= sum(count_saved(partial(h2aseg, deep_supervision=True), INPUT).values()) + output
