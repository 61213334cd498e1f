from pathlib import Path

import pytest
import torch
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.network.h2aseg import H2ASeg
from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg, nnUNetTrainerH2ASeg_L, nnUNetTrainerH2ASegDemo

FULLRES = "3d_fullres"


def build(plans, trainer=nnUNetTrainerH2ASeg, num_input_channels=2, deep_supervision=True) -> H2ASeg:
    """Build as nnUNetv2_predict does: on the class."""
    manager = PlansManager(plans)
    configuration = manager.get_configuration(FULLRES)
    return trainer.build_network_architecture(manager, configuration, num_input_channels, 2, deep_supervision)


def arch_kwargs(plans) -> dict:
    return plans["configurations"][FULLRES]["architecture"]["arch_kwargs"]


@pytest.mark.parametrize(
    ("trainer", "features"),
    [(nnUNetTrainerH2ASeg, [8, 16, 32, 64, 80, 80]), (nnUNetTrainerH2ASeg_L, [16, 32, 64, 128, 160, 160])],
)
def test_default_plan_gives_the_published_width_per_stream(plans, trainer, features):
    configuration = plans["configurations"][FULLRES]
    configuration["patch_size"] = [128, 128, 128]
    arch_kwargs(plans).update(
        n_stages=6,
        features_per_stage=[32, 64, 128, 256, 320, 320],
        kernel_sizes=[[3, 3, 3]] * 6,
        strides=[[1, 1, 1]] + [[2, 2, 2]] * 5,
    )

    network = build(plans, trainer)

    assert network.encoder.output_channels == features
    assert network.encoder.strides == [[1, 1, 1]] + [[2, 2, 2]] * 5


def test_residual_encoder_plans_are_mapped_too(plans):
    configuration = plans["configurations"][FULLRES]["architecture"]
    configuration["network_class_name"] = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
    del configuration["arch_kwargs"]["n_conv_per_stage"]
    configuration["arch_kwargs"]["n_blocks_per_stage"] = [1, 3, 4, 6]

    assert build(plans).encoder.output_channels == [8, 16, 32, 64]


def test_cascade_channels_reach_both_streams(plans):
    network = build(plans, num_input_channels=3)

    assert (network.ct_channels, network.pet_channels) == ([0, 2], [1, 2])


@pytest.mark.parametrize("patch_size", [[80, 20, 40], [13, 20, 22]])  # the second is odd at every stage
def test_every_stage_has_logits_a_target_of_their_size_and_a_positive_weight(plans, make_trainer, patch_size):
    plans["configurations"][FULLRES]["patch_size"] = patch_size
    trainer = make_trainer()
    trainer.initialize()

    outputs = trainer.network(torch.zeros(1, 2, *patch_size))
    downsample = DownsampleSegForDSTransform(ds_scales=trainer._get_deep_supervision_scales())
    targets = downsample(segmentation=torch.zeros(1, *patch_size))["segmentation"]

    assert [output.shape[2:] for output in outputs] == [target.shape[1:] for target in targets]
    assert len(outputs) == 4
    assert trainer.loss.weight_factors == pytest.approx([8 / 15, 4 / 15, 2 / 15, 1 / 15])


def test_without_deep_supervision_there_is_one_output_and_no_scale(make_trainer):
    class Unsupervised(nnUNetTrainerH2ASeg):
        def __init__(self, plans, configuration, fold, dataset_json, device):
            super().__init__(plans, configuration, fold, dataset_json, device)
            self.enable_deep_supervision = False

    trainer = make_trainer(Unsupervised)
    trainer.initialize()

    assert trainer._get_deep_supervision_scales() is None
    assert isinstance(trainer.network(torch.zeros(1, 2, *trainer.configuration_manager.patch_size)), torch.Tensor)
    assert not hasattr(trainer.loss, "weight_factors")


def test_a_plan_may_name_h2aseg_itself(plans):
    architecture = plans["configurations"][FULLRES]["architecture"]
    architecture["network_class_name"] = "h2aseg_nnunet.network.h2aseg.H2ASeg"
    architecture["arch_kwargs"] |= {"features_per_stage": [4, 8, 8, 8], "window_size": [4, 4, 4]}
    architecture["arch_kwargs"]["patch_size"] = plans["configurations"][FULLRES]["patch_size"]

    ours, stock = build(plans), build(plans, nnUNetTrainer)

    assert isinstance(stock, H2ASeg)
    assert ours.encoder.output_channels == stock.encoder.output_channels == [4, 8, 8, 8]
    assert ours.encoder.stages[1].interaction.within_windows.window_size == (4, 4, 4)
    ours.load_state_dict(stock.state_dict())


def test_a_plan_that_names_h2aseg_may_set_the_streams_itself(plans):
    configuration = plans["configurations"][FULLRES]
    configuration["normalization_schemes"] = ["ZScoreNormalization"] * 3  # tells nothing about modalities
    architecture = configuration["architecture"]
    architecture["network_class_name"] = "h2aseg_nnunet.network.h2aseg.H2ASeg"
    architecture["arch_kwargs"] |= {"ct_channels": [0, 2], "pet_channels": [1]}

    network = build(plans, num_input_channels=3)

    assert (network.ct_channels, network.pet_channels) == ([0, 2], [1])


def test_a_plan_with_batch_norm_is_refused(plans):
    arch_kwargs(plans)["norm_op"] = "torch.nn.modules.batchnorm.BatchNorm3d"

    with pytest.raises(ValueError, match="norm_op=BatchNorm3d"):
        build(plans)


@pytest.mark.parametrize("key", ["kernel_sizes", "strides", "features_per_stage"])
def test_a_missing_plan_key_is_named(plans, key):
    del arch_kwargs(plans)[key]

    with pytest.raises(ValueError, match=rf"has no \['{key}'\].*nnUNetv2_plan_experiment"):
        build(plans)


def test_a_single_channel_dataset_is_refused(plans):
    plans["configurations"][FULLRES]["normalization_schemes"] = ["CTNormalization"]

    with pytest.raises(ValueError, match="needs two modalities"):
        build(plans, num_input_channels=1)


REGIONS = {
    "channel_names": {"0": "CT", "1": "PET"},
    "labels": {"background": 0, "whole": [1, 2], "core": 2},
    "regions_class_order": [1, 2],
    "file_ending": ".nii.gz",
}


def test_the_network_learns_from_the_dataset_whether_labels_are_regions(make_trainer):
    for dataset, has_regions in (({}, False), ({"dataset": REGIONS}, True)):
        trainer = make_trainer(**dataset)
        trainer.initialize()
        assert trainer.network.decoder.seg_layers.has_regions == has_regions


def test_pretrained_weights_of_classes_leave_regions_regions(make_trainer, tmp_path):
    """nnU-Net takes over everything but the heads; what the heads stand for stays with them."""
    classes, regions = make_trainer(), make_trainer(dataset=REGIONS)
    classes.initialize()
    regions.initialize()
    classes.save_checkpoint(str(tmp_path / "checkpoint.pth"))

    load_pretrained_weights(regions.network, str(tmp_path / "checkpoint.pth"))

    assert regions.network.decoder.seg_layers.has_regions
    given, taken = classes.network.state_dict(), regions.network.state_dict()
    assert all(torch.equal(taken[name], given[name]) for name in given if ".seg_layers." not in name)


def test_a_checkpoint_restores_weights_moments_and_epoch(make_trainer, make_batch, tmp_path):
    trainer, other = make_trainer(), make_trainer()
    trainer.initialize()
    trainer.train_step(make_batch(trainer))
    trainer.current_epoch = 7
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))

    other.load_checkpoint(str(tmp_path / "checkpoint.pth"))

    assert other.current_epoch == 8  # the next one
    for name, weight in trainer.network.state_dict().items():
        assert torch.equal(weight, other.network.state_dict()[name])
    moments = [state[name] for state in trainer.optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    restored = [state[name] for state in other.optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    assert moments
    assert all(torch.equal(a, b) for a, b in zip(moments, restored, strict=True))


def test_a_write_that_fails_leaves_the_previous_checkpoint_whole(make_trainer, tmp_path, monkeypatch):
    trainer, file = make_trainer(), tmp_path / "checkpoint_latest.pth"
    trainer.initialize()
    trainer.save_checkpoint(str(file))
    before = file.read_bytes()

    def write_half(checkpoint, filename):
        Path(filename).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", write_half)
    with pytest.raises(UserError, match="disk full"):
        trainer.save_checkpoint(str(file))

    assert file.read_bytes() == before
    assert [found.name for found in tmp_path.glob("*checkpoint*")] == ["checkpoint_latest.pth"]


def test_only_the_first_rank_writes(make_trainer, tmp_path):
    trainer = make_trainer()
    trainer.initialize()
    trainer.local_rank = 1

    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))

    assert not list(tmp_path.glob("*checkpoint*"))


def test_disabled_checkpointing_writes_nothing(make_trainer, tmp_path):
    trainer = make_trainer()
    trainer.initialize()
    trainer.disable_checkpointing = True

    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))

    assert not list(tmp_path.glob("*checkpoint*"))


def test_a_damaged_checkpoint_is_named(make_trainer, tmp_path):
    trainer, file = make_trainer(), tmp_path / "checkpoint_latest.pth"
    trainer.initialize()
    trainer.save_checkpoint(str(file))
    file.write_bytes(file.read_bytes()[:1000])

    with pytest.raises(ValueError, match=r"checkpoint_latest.pth: damaged"):
        make_trainer().load_checkpoint(str(file))


def test_a_file_that_is_no_checkpoint_is_named(make_trainer, tmp_path):
    file = tmp_path / "weights.pth"
    torch.save({"state_dict": {}}, file)

    with pytest.raises(ValueError, match=r"weights.pth: no checkpoint of an nnU-Net training.*network_weights"):
        make_trainer().load_checkpoint(str(file))


def test_a_checkpoint_of_a_stock_trainer_is_refused_as_another_networks(make_trainer, tmp_path):
    stock = make_trainer(nnUNetTrainer)
    stock.initialize()
    stock.save_checkpoint(str(tmp_path / "stock.pth"))

    with pytest.raises(ValueError, match=r"not of this H2ASeg.*another trainer \(-tr\)"):
        make_trainer().load_checkpoint(str(tmp_path / "stock.pth"))


def test_the_demo_trainer_differs_in_schedule_sampling_mirroring_and_seed_only(make_trainer):
    demo, full = make_trainer(nnUNetTrainerH2ASegDemo), make_trainer()
    for trainer in (demo, full):
        trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()

    settings = {name: value for name, value in vars(full).items() if isinstance(value, int | float | bool | tuple)}
    assert {name for name, value in settings.items() if getattr(demo, name) != value} == {
        *("num_epochs", "num_iterations_per_epoch", "num_val_iterations_per_epoch", "save_every"),
        *("oversample_foreground_percent", "inference_allowed_mirroring_axes"),
    }
    assert demo.num_epochs * demo.num_iterations_per_epoch == 50
