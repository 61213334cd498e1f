import pytest
import torch
from torch import nn

from h2aseg_nnunet.network.attention import BidirectionalAttention, CrossModalAttention, GlobalAttention
from h2aseg_nnunet.network.mcsa import MCSA
from h2aseg_nnunet.network.tamw import ChannelGains
from h2aseg_nnunet.trainer import (
    nnUNetTrainerH2ASeg,
    nnUNetTrainerH2ASeg_affine,
    nnUNetTrainerH2ASeg_globalOnly,
    nnUNetTrainerH2ASeg_LeakyReLU,
    nnUNetTrainerH2ASeg_noTokenNorm,
    nnUNetTrainerH2ASeg_positions,
    nnUNetTrainerH2ASeg_qkNorm,
    nnUNetTrainerH2ASeg_sampleDice,
    nnUNetTrainerH2ASeg_smoothDice,
    nnUNetTrainerH2ASeg_zeroTAMW,
    nnUNetTrainerH2ASegRelease,
)
from h2aseg_nnunet.trainer.supervision import dice_of


def build(make_trainer, cls):
    torch.manual_seed(0)
    trainer = make_trainer(cls)
    trainer.initialize()
    return trainer


def of_type(network, cls) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, cls)]


def test_slopes_are_nnunets_and_stay(make_trainer, make_batch):
    trainer = build(make_trainer, nnUNetTrainerH2ASeg_LeakyReLU)

    trainer.train_step(make_batch(trainer))

    slopes = torch.cat([activation.weight for activation in of_type(trainer.network, nn.PReLU)])
    assert torch.equal(slopes, torch.full_like(slopes, 0.01))


def test_gains_start_at_zero_and_learn(make_trainer, make_batch):
    """fc2 alone has a gradient in the first step, fc1 from the second one on: nothing stays dead."""
    trainer = build(make_trainer, nnUNetTrainerH2ASeg_zeroTAMW)
    gains = of_type(trainer.network, ChannelGains)
    before = [each.fc1.weight.clone() for each in gains]
    assert all(each(torch.randn(1, each.fc1.in_features)).abs().max() == 0 for each in gains)

    batch = make_batch(trainer)
    for _ in range(2):
        trainer.train_step(batch)

    assert all(each.fc2.weight.abs().sum() > 0 for each in gains)
    assert not any(torch.equal(each.fc1.weight, start) for each, start in zip(gains, before, strict=True))


def test_only_two_stages_interact_globally(make_trainer):
    network = build(make_trainer, nnUNetTrainerH2ASeg_globalOnly).network
    interactions = [stage.interaction for stage in network.encoder.stages]

    assert all(isinstance(interaction, GlobalAttention) for interaction in interactions[-2:])
    assert interactions[:-2] == [None] * len(interactions[:-2])
    assert of_type(build(make_trainer, nnUNetTrainerH2ASeg).network, MCSA) or len(interactions) > 2


def test_positions_norms_of_queries_and_keys_and_affine_norms_reach_every_module(make_trainer):
    normalized = of_type(build(make_trainer, nnUNetTrainerH2ASeg_qkNorm).network, CrossModalAttention)
    attentions = of_type(build(make_trainer, nnUNetTrainerH2ASeg_positions).network, BidirectionalAttention)
    activations = of_type(build(make_trainer, nnUNetTrainerH2ASeg_affine).network, nn.PReLU)

    assert normalized and all(attention.qk_norm is not None for attention in normalized)
    assert attentions and all(attention.positions for attention in attentions)
    assert activations and all(hasattr(activation, "scale") for activation in activations)


def test_tokens_are_normalized_but_for_the_recipe_without_and_the_release(make_trainer):
    default = build(make_trainer, nnUNetTrainerH2ASeg).network.state_dict().keys()
    without = build(make_trainer, nnUNetTrainerH2ASeg_noTokenNorm).network.state_dict().keys()
    release = build(make_trainer, nnUNetTrainerH2ASegRelease).network.state_dict().keys()

    assert without == release < default
    assert default - without == {key for key in default if "ct_norm" in key or "pet_norm" in key}


def test_smooth_term_of_dice(make_trainer):
    assert dice_of(build(make_trainer, nnUNetTrainerH2ASeg).loss).smooth == 1e-5
    assert dice_of(build(make_trainer, nnUNetTrainerH2ASeg_smoothDice).loss).smooth == 1


@pytest.mark.parametrize(("recipe", "dice"), [(nnUNetTrainerH2ASeg, 1 / 3), (nnUNetTrainerH2ASeg_sampleDice, 1 / 4)])
@pytest.mark.parametrize("planned", [True, False])
def test_dice_is_of_the_batch_whatever_is_planned_and_of_samples_in_its_recipe(
    plans, make_trainer, recipe, dice, planned
):
    """Probability 1/2 everywhere, 4 of 8 voxels of the first sample are tumour and none of the second.

    Batch: 2 * 2 / (8 + 4). Samples: 2 * 2 / (4 + 4) and 0, halved.
    """
    plans["configurations"]["3d_fullres"]["batch_dice"] = planned
    logits = torch.zeros(2, 2, 2, 2, 2, requires_grad=True)
    target = torch.zeros(2, 1, 2, 2, 2)
    target[0, :, 0] = 1

    loss = dice_of(build(make_trainer, recipe).loss)(logits, target)
    loss.backward()

    assert loss.item() == pytest.approx(-dice, abs=1e-5)
    false_positives_are_punished = bool(logits.grad[1, 1].min() > 1e-3)
    assert false_positives_are_punished == (recipe is nnUNetTrainerH2ASeg)


@pytest.mark.parametrize("recipe", [nnUNetTrainerH2ASeg, nnUNetTrainerH2ASeg_sampleDice])
def test_marking_nothing_anywhere_is_rewarded_by_dice_of_samples_alone(make_trainer, recipe):
    """Probability exp(-40) everywhere, tumour in the first sample only.

    Where a sample holds no tumour, its Dice rises from 0 to 1 once all its probabilities together are far below the
    smooth term of 1e-5: networks can learn to mark nothing for it.
    """
    logits = torch.zeros(2, 2, 2, 2, 2)
    logits[:, 0] = 40
    target = torch.zeros(2, 1, 2, 2, 2)
    target[0, :, 0] = 1

    loss = dice_of(build(make_trainer, recipe).loss)(logits, target)

    rewarded = -1 / 2 if recipe is nnUNetTrainerH2ASeg_sampleDice else 0
    assert loss.item() == pytest.approx(rewarded, abs=1e-4)
