import pytest
import torch
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from torch import nn

from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg
from h2aseg_nnunet.trainer.supervision import FullResolutionSupervision, dice_of, halving_weights, release_weights


class SampleDice(nnUNetTrainerH2ASeg):
    batch_dice = False


class SupervisedAtEveryResolution(nnUNetTrainerH2ASeg):
    full_resolution_supervision = False


class ReleaseWeights(nnUNetTrainerH2ASeg):
    deep_supervision_weights = staticmethod(release_weights)


def test_weights_fall_from_fine_to_coarse():
    assert halving_weights(3) == pytest.approx((4 / 7, 2 / 7, 1 / 7))
    assert release_weights(5) == (5, 4, 3, 2, 1)


def test_a_recipe_may_choose_the_weights(make_trainer):
    trainer = make_trainer(ReleaseWeights)
    trainer.initialize()

    assert trainer.loss.weight_factors == (4, 3, 2, 1)


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
    [(nnUNetTrainerH2ASeg, 0, 40), (SupervisedAtEveryResolution, 7 / 15, 40 * 8 / 15)],
)
def test_only_at_full_resolution_does_a_coarse_stage_pay_for_missing_what_its_own_label_has_lost(
    make_trainer, recipe, dice, cross_entropy
):
    """One voxel of tumor, between those that coarse labels take; every stage marks nothing, with logits 40 apart.

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


def built_loss(make_trainer, recipe) -> nn.Module:
    trainer = make_trainer(recipe)
    trainer.initialize()
    return trainer.loss


@pytest.mark.parametrize(("recipe", "dice"), [(nnUNetTrainerH2ASeg, 1 / 3), (SampleDice, 1 / 4)])
@pytest.mark.parametrize("planned", [True, False])
def test_dice_is_of_the_batch_whatever_is_planned_and_of_samples_in_its_recipe(
    plans, make_trainer, recipe, dice, planned
):
    """Probability 1/2 everywhere, 4 of 8 voxels of the first sample are tumor and none of the second.

    Batch: 2 * 2 / (8 + 4). Samples: 2 * 2 / (4 + 4) and 0, halved.
    """
    plans["configurations"]["3d_fullres"]["batch_dice"] = planned
    logits = torch.zeros(2, 2, 2, 2, 2, requires_grad=True)
    target = torch.zeros(2, 1, 2, 2, 2)
    target[0, :, 0] = 1

    loss = dice_of(built_loss(make_trainer, recipe))(logits, target)
    loss.backward()

    assert loss.item() == pytest.approx(-dice, abs=1e-5)
    false_positives_are_punished = bool(logits.grad[1, 1].min() > 1e-3)
    assert false_positives_are_punished == (recipe is nnUNetTrainerH2ASeg)


@pytest.mark.parametrize("recipe", [nnUNetTrainerH2ASeg, SampleDice])
def test_marking_nothing_anywhere_is_rewarded_by_dice_of_samples_alone(make_trainer, recipe):
    """Probability exp(-40) everywhere, tumor in the first sample only.

    Where a sample holds no tumor, its Dice rises from 0 to 1 once all its probabilities together are far below the
    smooth term of 1e-5: networks can learn to mark nothing for it.
    """
    logits = torch.zeros(2, 2, 2, 2, 2)
    logits[:, 0] = 40
    target = torch.zeros(2, 1, 2, 2, 2)
    target[0, :, 0] = 1

    loss = dice_of(built_loss(make_trainer, recipe))(logits, target)

    rewarded = -1 / 2 if recipe is SampleDice else 0
    assert loss.item() == pytest.approx(rewarded, abs=1e-4)
