import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from h2aseg_nnunet.network.h2aseg import H2ASeg
from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg, nnUNetTrainerH2ASeg_L, nnUNetTrainerH2ASegDemo

PLANS = json.loads((Path(__file__).parents[1] / "data" / "nnUNetPlans.json").read_text())  # nnU-Net's planner wrote it
DATASET = {
    "channel_names": {"0": "CT", "1": "PET"},
    "labels": {"background": 0, "tumor": 1},
    "numTraining": 20,
    "file_ending": ".nii.gz",
}
FULLRES = "3d_fullres"


@pytest.fixture
def plans():
    return deepcopy(PLANS)


@pytest.fixture
def make_trainer(plans, tmp_path, monkeypatch):
    for folder in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(folder, str(tmp_path / folder))
    preprocessed = tmp_path / "nnUNet_preprocessed" / plans["dataset_name"] / "nnUNetPlans_3d_fullres"
    preprocessed.mkdir(parents=True)
    (preprocessed / "case.b2nd").touch()  # tells nnU-Net which storage the dataset has

    def make(cls=nnUNetTrainerH2ASeg, dataset=DATASET):
        settings = deepcopy(plans) | {"continue_training": False}
        return cls(settings, FULLRES, 0, dataset, device=torch.device("cpu"))

    return make


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


def test_every_stage_has_a_target_scale_a_positive_weight_and_logits(make_trainer):
    trainer = make_trainer()
    trainer.initialize()
    strides = trainer.configuration_manager.pool_op_kernel_sizes

    outputs = trainer.network(torch.zeros(1, 2, *trainer.configuration_manager.patch_size))

    scales, weights = trainer._get_deep_supervision_scales(), trainer.loss.weight_factors
    assert len(outputs) == len(scales) == len(weights) == len(strides)
    assert scales[0] == [1, 1, 1]
    assert scales[1] == [1 / s for s in strides[1]]
    assert weights == pytest.approx([8 / 15, 4 / 15, 2 / 15, 1 / 15])
    for output, scale in zip(outputs, scales, strict=True):
        target = [round(p * s) for p, s in zip(trainer.configuration_manager.patch_size, scale, strict=True)]
        assert list(output.shape[2:]) == target


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


def test_a_training_step_lowers_the_loss_on_its_batch(make_trainer):
    torch.manual_seed(0)
    trainer = make_trainer()
    trainer.initialize()
    trainer.set_deep_supervision_enabled(True)
    size = trainer.configuration_manager.patch_size
    image = torch.randn(1, 2, *size)
    tumor = (image.sum(1, keepdim=True) > 1.5).float()
    scales = trainer._get_deep_supervision_scales()
    targets = [
        nn.functional.interpolate(tumor, size=[round(n * s) for n, s in zip(size, x, strict=True)]) for x in scales
    ]

    losses = [trainer.train_step({"data": image, "target": targets})["loss"] for _ in range(4)]

    assert losses[-1] < losses[0]


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


@pytest.mark.parametrize("key", ["kernel_sizes", "strides", "features_per_stage"])
def test_a_missing_plan_key_is_named(plans, key):
    del arch_kwargs(plans)[key]

    with pytest.raises(ValueError, match=rf"has no \['{key}'\].*nnUNetv2_plan_experiment"):
        build(plans)


def test_a_single_channel_dataset_is_refused(plans):
    plans["configurations"][FULLRES]["normalization_schemes"] = ["CTNormalization"]

    with pytest.raises(ValueError, match="needs two modalities"):
        build(plans, num_input_channels=1)


def test_region_labels_are_refused(make_trainer):
    dataset = DATASET | {"labels": {"background": 0, "whole": [1, 2], "core": 2}, "regions_class_order": [1, 2]}

    with pytest.raises(ValueError, match="region-based labels"):
        make_trainer(dataset=dataset).initialize()


def test_a_checkpoint_restores_weights_and_epoch(make_trainer, tmp_path):
    trainer, other = make_trainer(), make_trainer()
    trainer.initialize()
    trainer.current_epoch = 7
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))

    other.load_checkpoint(str(tmp_path / "checkpoint.pth"))

    assert other.current_epoch == 8  # the next one
    for name, weight in trainer.network.state_dict().items():
        assert torch.equal(weight, other.network.state_dict()[name])


def test_a_write_that_fails_leaves_the_previous_checkpoint_whole(make_trainer, tmp_path, monkeypatch):
    trainer, file = make_trainer(), tmp_path / "checkpoint_latest.pth"
    trainer.initialize()
    trainer.save_checkpoint(str(file))
    before = file.read_bytes()

    def write_half(checkpoint, filename):
        Path(filename).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", write_half)
    with pytest.raises(OSError, match="disk full"):
        trainer.save_checkpoint(str(file))

    assert file.read_bytes() == before


def test_disabled_checkpointing_writes_nothing(make_trainer, tmp_path):
    trainer = make_trainer()
    trainer.initialize()
    trainer.disable_checkpointing = True

    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))

    assert not list(tmp_path.glob("checkpoint*"))


def test_a_damaged_checkpoint_is_named(make_trainer, tmp_path):
    trainer, file = make_trainer(), tmp_path / "checkpoint_latest.pth"
    trainer.initialize()
    trainer.save_checkpoint(str(file))
    file.write_bytes(file.read_bytes()[:1000])

    with pytest.raises(ValueError, match=r"checkpoint_latest.pth: cannot be read as an nnU-Net checkpoint"):
        make_trainer().load_checkpoint(str(file))


def test_a_file_that_is_no_checkpoint_is_named(make_trainer, tmp_path):
    file = tmp_path / "weights.pth"
    torch.save({"state_dict": {}}, file)

    with pytest.raises(ValueError, match=r"weights.pth: cannot be read as an nnU-Net checkpoint.*network_weights"):
        make_trainer().load_checkpoint(str(file))


def test_a_checkpoint_of_a_stock_trainer_is_refused_as_another_networks(make_trainer, tmp_path):
    stock = make_trainer(nnUNetTrainer)
    stock.initialize()
    stock.save_checkpoint(str(tmp_path / "stock.pth"))

    with pytest.raises(ValueError, match=r"not of this H2ASeg.*another trainer \(-tr\)"):
        make_trainer().load_checkpoint(str(tmp_path / "stock.pth"))


def test_the_demo_trainer_differs_in_its_schedule_only(make_trainer):
    trainer = make_trainer(nnUNetTrainerH2ASegDemo)
    trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()

    assert trainer.num_epochs * trainer.num_iterations_per_epoch == 50
    assert trainer.inference_allowed_mirroring_axes is None
    assert trainer.initial_lr == make_trainer().initial_lr
