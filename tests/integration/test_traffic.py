"""What a training step costs a GPU in eager mode can only fall, beside the stock U-Net on the same plan."""

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn

from benchmarks.traffic import PLANS, Traffic, count_traffic, count_trainers
from h2aseg_nnunet.network.blocks import NormPReLU
from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg

CEILINGS = {  # multiples of the U-Net's: lower them with every gain
    "default 3D": {"forward kernels": 2.00, "forward bytes": 0.920, "kernels": 2.02, "bytes": 0.812},
    "ResEnc M": {"forward kernels": 0.80, "forward bytes": 0.588, "kernels": 0.75, "bytes": 0.514},
    "larger patch": {"forward kernels": 2.23, "forward bytes": 0.927, "kernels": 2.22, "bytes": 0.817},
    "anisotropic": {"forward kernels": 2.14, "forward bytes": 1.085, "kernels": 2.14, "bytes": 0.942},
    "2D": {"forward kernels": 1.92, "forward bytes": 1.089, "kernels": 1.94, "bytes": 0.947},
}


@pytest.mark.parametrize(
    "plan", [plan if plan == "default 3D" else pytest.param(plan, marks=pytest.mark.slow) for plan in PLANS]
)
def test_a_step_launches_and_moves_no_more_than_before(plan):
    stock, ours = count_trainers(plan, (nnUNetTrainer, nnUNetTrainerH2ASeg)).values()

    multiples = {what: ours[what] / stock[what] for what in ours}
    assert all(multiples[what] <= CEILINGS[plan][what] for what in multiples), multiples


def test_an_addition_is_one_kernel_that_reads_twice_and_writes_once():
    a, b = torch.zeros(10), torch.zeros(10)

    with Traffic() as traffic:
        (a + b).view(5, 2)  # a view costs nothing

    assert traffic.kernels == {"add": 1}
    assert traffic.bytes == {"add": 3 * 10 * 4}


def test_norm_and_prelu_read_the_map_twice_in_each_direction():
    """Forward: two reads and a write in half precision, and what the loss takes."""

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = NormPReLU()
            self.x = nn.Parameter(torch.zeros(1, 4, 8, 8, 8, dtype=torch.bfloat16))

        def forward(self, _):
            return [self.norm(self.x)]

    found = count_traffic(Network, (1,))

    size, exact = 4 * 8**3 * 2, 4 * 8**3 * 4
    mean_of_loss = size + exact + exact + 4 + 4 + 4  # float(), mean(), and the sum's first addition
    assert found["forward bytes"] == pytest.approx(3 * size + mean_of_loss, abs=64)
    assert found["forward kernels"] == 2 + 3
