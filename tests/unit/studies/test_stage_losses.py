import pytest
import torch
from torch import nn

from studies.stage_losses import lost_labels, stage_losses


class Twice(nn.Module):
    """Two outputs: the image, and its half resolution."""

    def forward(self, x):
        return [x, x[..., ::2]]


def test_every_output_is_compared_with_its_own_target_and_averaged_over_batches():
    batches = [
        {"data": torch.full((1, 1, 4), value), "target": [torch.zeros(1, 1, 4), torch.ones(1, 1, 2)]}
        for value in (1.0, 3.0)
    ]

    losses = stage_losses(Twice(), nn.L1Loss(), batches, torch.device("cpu"))

    assert losses == pytest.approx([2, 1])


def test_labels_lost_are_counted_among_batches_with_tumour():
    """Two of three have tumour; one of them keeps it at the second stage, none at the third."""
    tumor, none = torch.ones(1), torch.zeros(1)

    assert lost_labels([[tumor, tumor, none], [tumor, none, none], [none, none, none]]) == [0, 0.5, 1]
