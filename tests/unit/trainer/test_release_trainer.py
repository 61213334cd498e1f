import math

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from torch import nn

from h2aseg_nnunet.trainer import nnUNetTrainerH2ASegRelease

FULLRES = "3d_fullres"


@pytest.fixture
def make_release(make_trainer):
    def make(**kwargs):
        trainer = make_trainer(nnUNetTrainerH2ASegRelease, **kwargs)
        trainer.initialize()
        return trainer

    return make


def test_widths_are_the_published_ones_whatever_the_plan_has(plans, make_release):
    plans["configurations"][FULLRES]["patch_size"] = [32, 32, 32]
    plans["configurations"][FULLRES]["architecture"]["arch_kwargs"] |= {
        "n_stages": 6,
        "features_per_stage": [32, 64, 128, 256, 320, 320],
        "kernel_sizes": [[3, 3, 3]] * 6,
        "strides": [[1, 1, 1]] + [[2, 2, 2]] * 5,
    }

    assert make_release().network.encoder.output_channels == [8, 16, 32, 64, 128, 128]


def test_dropout_is_half_in_every_block_and_attention(make_release):
    network = make_release().network

    blocks = [module for module in network.modules() if hasattr(module, "conv_skip")]
    assert {block.dropout.p for block in blocks} == {0.5}
    assert {module.dropout.p for module in network.modules() if hasattr(module, "from_target")} == {0.5}


def test_convolutions_start_with_pytorchs_defaults(make_trainer, make_release):
    """nnU-Net's initialisation has biases of zero."""
    stock = make_trainer()
    stock.initialize()
    biases = "encoder.stages.0.ct_block.conv1.bias"

    assert not stock.network.get_parameter(biases).any()
    assert make_release().network.get_parameter(biases).all()


def test_adam_loses_one_percent_per_epoch_also_where_training_is_resumed(make_release, tmp_path):
    trainer, resumed = make_release(), make_release()
    group = trainer.optimizer.param_groups[0]

    assert type(trainer.optimizer) is torch.optim.Adam
    assert (group["lr"], group["weight_decay"], trainer.num_epochs) == (1e-4, 1e-5, 200)
    for epoch, expected in ((0, 1e-4), (1, 9.9e-5), (2, 9.801e-5), (199, 1e-4 * math.exp(199 * math.log(0.99)))):
        trainer.lr_scheduler.step(epoch)
        assert group["lr"] == pytest.approx(expected)
    trainer.current_epoch = 9
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    resumed.load_checkpoint(str(tmp_path / "checkpoint.pth"))
    resumed.lr_scheduler.step(resumed.current_epoch)
    assert resumed.optimizer.param_groups[0]["lr"] == pytest.approx(1e-4 * 0.99**10)


def stages(trainer, batch: int, channels: int) -> list[torch.Tensor]:
    """Logits of zero at every stage: every probability is a half."""
    patch = np.array(trainer.configuration_manager.patch_size)
    scales = np.array(trainer._get_deep_supervision_scales())
    return [torch.zeros(batch, channels, *(patch * scale).astype(int).tolist()) for scale in scales]


def test_loss_is_cross_entropy_and_dice_of_each_image_with_background(make_release):
    """A quarter is tumour: Dice 0.25 / (0.25 + 0.5) and 0.75 / (0.75 + 0.5), mean 7/15. All is: 2/3 and 0, mean 1/3."""
    trainer = make_release()
    logits = stages(trainer, batch=2, channels=2)
    target = torch.ones(2, 1, *trainer.configuration_manager.patch_size)
    target[0, :, 20:] = 0

    loss = trainer.loss(logits, [target] * 4)

    each_stage = math.log(2) - (7 / 15 + 1 / 3) / 2
    assert loss.item() == pytest.approx((4 + 3 + 2 + 1) * each_stage, rel=1e-5)


def test_a_compiled_loss_counts_the_background_too(make_trainer, monkeypatch):
    """torch.compile wraps the Dice loss before the recipe sees it."""
    trainer = make_trainer(nnUNetTrainerH2ASegRelease)
    monkeypatch.setattr(trainer, "_do_i_compile", lambda: True)

    dice = trainer._build_loss().loss.dc

    assert isinstance(dice, torch._dynamo.OptimizedModule)
    assert (dice._orig_mod.do_bg, dice._orig_mod.batch_dice) == (True, False)


def test_loss_with_regions(make_release):
    """The two regions fill the image and a quarter of it; binary cross-entropy log 2, Dice 2/3 and 1/3."""
    dataset = {
        "channel_names": {"0": "CT", "1": "PET"},
        "labels": {"background": 0, "whole": [1, 2], "core": 2},
        "regions_class_order": [1, 2],
        "file_ending": ".nii.gz",
    }
    trainer = make_release(dataset=dataset)
    target = torch.ones(1, 2, *trainer.configuration_manager.patch_size)
    target[:, 1, 20:] = 0

    loss = trainer.loss(stages(trainer, batch=1, channels=2), [target] * 4)

    assert loss.item() == pytest.approx(10 * (math.log(2) - (2 / 3 + 1 / 3) / 2), rel=1e-5)


def test_ignored_voxels_teach_nothing(make_release):
    dataset = {
        "channel_names": {"0": "CT", "1": "PET"},
        "labels": {"background": 0, "tumor": 1, "ignore": 2},
        "file_ending": ".nii.gz",
    }
    trainer = make_release(dataset=dataset)
    logits = stages(trainer, batch=1, channels=2)
    logits[0].requires_grad_()
    target = torch.ones(1, 1, *trainer.configuration_manager.patch_size)
    target[:, :, 20:] = 2

    trainer.loss(logits, [target] * 4).backward()

    assert logits[0].grad[:, :, :20].all()
    assert not logits[0].grad[:, :, 20:].any()


def test_without_deep_supervision_the_loss_is_that_of_full_resolution(make_trainer):
    class Unsupervised(nnUNetTrainerH2ASegRelease):
        enable_deep_supervision = False

    trainer = make_trainer(Unsupervised)
    trainer.initialize()
    target = torch.ones(1, 1, *trainer.configuration_manager.patch_size)

    loss = trainer.loss(torch.zeros(1, 2, *trainer.configuration_manager.patch_size), target)

    assert loss.item() == pytest.approx(math.log(2) - 1 / 3, rel=1e-4)


def augment(trainer, image: torch.Tensor, is_2d_within_3d: bool) -> torch.Tensor:
    rotation, dummy_2d, _, mirror_axes = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    assert dummy_2d == is_2d_within_3d
    transform = trainer.get_training_transforms(
        trainer.configuration_manager.patch_size, rotation, None, mirror_axes, dummy_2d
    )
    assert not any(isinstance(each, RandomTransform | MirrorTransform) for each in transform.transforms)
    return transform(image=image, segmentation=torch.zeros(1, *image.shape[1:]))["image"]


def test_augmentation_only_rotates_within_slices(make_trainer):
    """An image that has one value per slice looks the same from every angle; the loaded patch has no empty corner."""
    np.random.seed(0)
    trainer = make_trainer(nnUNetTrainerH2ASegRelease)
    *_, size, _ = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    ramps = torch.meshgrid(*[torch.arange(float(n)) for n in size], indexing="ij")
    image = torch.stack([1 + ramps[0], ramps[2]])

    results = [augment(trainer, image, is_2d_within_3d=True) for _ in range(20)]

    assert size.tolist() == [80, 45, 45]  # the slices' diagonal is 44.7
    for result in results:
        assert result.shape == (2, 80, 20, 40)
        torch.testing.assert_close(result[0], (1 + torch.arange(80.0)).reshape(80, 1, 1).expand(80, 20, 40))
    steps = torch.stack([result[1].diff(dim=2).mean() for result in results])  # cosine of the angle
    assert steps.abs().max() <= 1 + 1e-5
    assert 1 <= torch.isclose(steps, torch.ones(())).sum() < 10  # 8 of 10 are rotated
    assert steps.min() < -0.5


def test_slices_are_rotated_too(make_trainer):
    np.random.seed(0)
    trainer = make_trainer(nnUNetTrainerH2ASegRelease, configuration="2d")
    *_, size, _ = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()

    image = torch.stack([torch.ones(*size), torch.arange(float(size[1])).expand(*size)])
    results = [augment(trainer, image, is_2d_within_3d=False) for _ in range(10)]

    assert all(torch.allclose(result[0], torch.ones(32, 56)) for result in results)
    assert min(result[1].diff(dim=1).mean() for result in results) < 0


def test_half_of_the_patches_hold_foreground_and_prediction_does_not_mirror(make_release):
    trainer = make_release()
    trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()

    assert trainer.oversample_foreground_percent == 0.5
    assert trainer.inference_allowed_mirroring_axes is None


def test_a_training_step_reaches_every_parameter(make_release, make_batch):
    torch.manual_seed(0)
    trainer = make_release()
    before = [parameter.clone() for parameter in trainer.network.parameters()]

    assert np.isfinite(trainer.train_step(make_batch(trainer))["loss"])

    assert not any(torch.equal(a, b) for a, b in zip(before, trainer.network.parameters(), strict=True))
    assert isinstance(trainer.loss, nn.Module)
