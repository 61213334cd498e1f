import pytest
import torch
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from torch import nn

from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg, nnUNetTrainerH2ASeg_linearDS, nnUNetTrainerH2ASeg_stageDS
from h2aseg_nnunet.trainer.supervision import (
    FullResolutionSupervision,
    halving_weights,
    linear_weights,
    release_weights,
)


def test_weights_fall_from_fine_to_coarse():
    assert halving_weights(3) == pytest.approx((4 / 7, 2 / 7, 1 / 7))
    assert linear_weights(4) == pytest.approx((0.4, 0.3, 0.2, 0.1))
    assert release_weights(5) == (5, 4, 3, 2, 1)


def test_a_recipe_may_choose_the_weights(make_trainer):
    trainer = make_trainer(nnUNetTrainerH2ASeg_linearDS)
    trainer.initialize()

    assert trainer.loss.weight_factors == pytest.approx((0.4, 0.3, 0.2, 0.1))


class SquaredDifference(nn.Module):
    def forward(self, logits, target):
        return (logits - target).square().mean()


def test_coarse_logits_are_compared_at_full_resolution():
    """-3, 3 becomes -3, -1, 1, 3, for corners coincide; less 1: squares 16, 4, 0, 4, mean 6. Fine: mean 1."""
    fine, coarse, target = torch.zeros(1, 1, 1, 4), torch.tensor([[[[-3.0, 3.0]]]]), torch.ones(1, 1, 1, 4)
    loss = FullResolutionSupervision(SquaredDifference(), (2, 0.5))

    assert loss([fine, coarse], [target, None]) == pytest.approx(2 * 1 + 0.5 * 6)


@pytest.mark.parametrize(
    ("recipe", "dice", "cross_entropy"),
    [(nnUNetTrainerH2ASeg, 0, 40), (nnUNetTrainerH2ASeg_stageDS, 7 / 15, 40 * 8 / 15)],
)
def test_only_at_full_resolution_does_a_coarse_stage_pay_for_missing_what_its_own_label_has_lost(
    make_trainer, recipe, dice, cross_entropy
):
    """One voxel of tumour, between those that coarse labels take; every stage marks nothing, with logits 40 apart.

    Where the label is empty, Dice counts this as 1. Cross-entropy is 40 at the voxel and 0 elsewhere.
    """
    trainer = make_trainer(recipe)
    trainer.initialize()
    patch_size = trainer.configuration_manager.patch_size
    label = torch.zeros(1, *patch_size)
    label[0, 0, 0, 0] = 1
    targets = DownsampleSegForDSTransform(trainer._get_deep_supervision_scales())(segmentation=label)["segmentation"]
    logits = [torch.stack([0 * target + 40, 0 * target], dim=1) for target in targets]

    loss = trainer.loss(logits, [target[None] for target in targets])

    assert [int(target.sum()) for target in targets] == [1, 0, 0, 0]
    assert loss.item() == pytest.approx(cross_entropy / label.numel() - dice, abs=1e-4)
