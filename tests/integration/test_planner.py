"""nnU-Net's search with H2ASeg's memory. Where the search is meant, a formula stands in for the counted memory."""

import json
from math import prod
from pathlib import Path

import pytest
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.plan_and_preprocess_api import plan_experiment_dataset
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from h2aseg_nnunet.cli import main
from h2aseg_nnunet.planning import planner as planner_module
from h2aseg_nnunet.planning.memory import training_step_bytes
from h2aseg_nnunet.planning.plan_dataset import plan_dataset
from h2aseg_nnunet.planning.planner import GB, RESERVE, H2ASegPlanner
from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg, nnUNetTrainerH2ASeg_L

ID, DATASET = 930, "Dataset930_Planned"
BYTES_PER_VOXEL, CONSTANT = 500, 1e8


@pytest.fixture
def dataset(tmp_path, monkeypatch) -> Path:
    """nnU-Net's folders with a dataset as planning sees it: names, labels, extents and spacings, no image."""
    for folder in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(folder, str(tmp_path / folder))
    raw, preprocessed = tmp_path / "nnUNet_raw" / DATASET, tmp_path / "nnUNet_preprocessed" / DATASET
    for file in ("imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz"):
        (raw / file).parent.mkdir(parents=True, exist_ok=True)
        (raw / file).touch()
    description = {
        "channel_names": {"0": "CT", "1": "PET"},
        "labels": {"background": 0, "tumor": 1},
        "numTraining": 500,
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "SimpleITKIO",  # else nnU-Net tries to read an image
    }
    (raw / "dataset.json").write_text(json.dumps(description))
    preprocessed.mkdir(parents=True)
    fingerprint = {
        "spacings": [[3.0, 2.04, 2.04]],
        "shapes_after_crop": [[326, 400, 400]],
        "foreground_intensity_properties_per_channel": {},
        "median_relative_size_after_cropping": 1.0,
    }
    (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
    return preprocessed


@pytest.fixture
def formula(monkeypatch):
    """Memory in proportion to the voxels."""

    def count(build_network, input_channels, patch_size, batch_size, limit=float("inf"), moments=1):
        assert input_channels == 2
        step = CONSTANT + BYTES_PER_VOXEL * batch_size * prod(patch_size)
        if step > limit:
            raise MemoryError
        return step

    monkeypatch.setattr(planner_module, "training_step_bytes", count)
    return count


def fill(configuration: dict) -> float:
    """Bytes that the formula gives for a planned batch."""
    return CONSTANT + BYTES_PER_VOXEL * configuration["batch_size"] * prod(configuration["patch_size"])


def resize_images(dataset, shape: list[int]) -> None:
    file = dataset / "dataset_fingerprint.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"shapes_after_crop": [shape]}))


@pytest.mark.parametrize("target_gb", [1, 4, 8])
def test_the_batch_fits_and_one_sample_more_would_not(dataset, formula, target_gb):
    _, plans = plan_dataset(ID, target_gb)

    budget = (1 - RESERVE) * target_gb * GB
    for name in ("2d", "3d_fullres", "3d_lowres"):
        configuration = plans["configurations"][name]
        sample = BYTES_PER_VOXEL * prod(configuration["patch_size"])
        assert configuration["batch_size"] >= 2
        assert fill(configuration) <= budget < fill(configuration) + sample
        assert configuration["estimated_gpu_memory_gb"] == pytest.approx(
            fill(configuration) / GB / (1 - RESERVE), abs=0.01
        )


def test_a_larger_card_is_given_larger_patches(dataset, formula):
    voxels = [prod(plan_dataset(ID, gb)[1]["configurations"]["3d_fullres"]["patch_size"]) for gb in (2, 8, 32)]

    assert voxels[0] < voxels[1] < voxels[2]


def test_the_rest_of_the_plan_is_nnunets_own(dataset, formula):
    file, plans = plan_dataset(ID, 8)
    stock, _ = plan_experiment_dataset(ID, ExperimentPlanner, 8)

    assert file.name == "nnUNetH2ASegPlans_8G.json"
    assert plans["plans_name"] == "nnUNetH2ASegPlans_8G"
    assert plans["experiment_planner_used"] == "H2ASegPlanner"
    for key in ("dataset_name", "image_reader_writer", "transpose_forward", "label_manager"):
        assert plans[key] == stock[key]
    for name in ("2d", "3d_fullres"):
        ours, theirs = plans["configurations"][name], stock["configurations"][name]
        assert ours["architecture"]["network_class_name"] == theirs["architecture"]["network_class_name"]
        for key in ("data_identifier", "spacing", "normalization_schemes", "resampling_fn_data"):
            assert ours[key] == theirs[key]  # preprocessed alike: the data is shared


def test_nnunet_plans_with_the_class_itself(dataset, formula):
    plans, name = plan_experiment_dataset(ID, H2ASegPlanner, 8, overwrite_plans_name="nnUNetMine")

    assert name == plans["plans_name"] == "nnUNetMine"


def test_the_estimate_is_the_counted_memory_of_the_trainers_network(dataset):
    """Small images, for speed; nnU-Net builds the network from the written file."""
    resize_images(dataset, [40, 48, 48])
    file, plans = plan_dataset(ID, 0.3, configurations=["2d"])
    configuration = plans["configurations"]["2d"]

    def build():
        manager = PlansManager(str(file)).get_configuration("2d")
        return nnUNetTrainerH2ASeg.build_network_architecture(None, manager, 2, 2, True)

    step = training_step_bytes(build, 2, configuration["patch_size"], configuration["batch_size"], moments=2)
    assert configuration["estimated_gpu_memory_gb"] == pytest.approx(step / (1 - RESERVE) / GB, rel=0.05)
    assert configuration["estimated_gpu_memory_gb"] <= 0.3


def test_a_wider_trainer_gets_its_own_plans(dataset, monkeypatch):
    built = []
    build = nnUNetTrainerH2ASeg_L.build_network_architecture

    def spy(*arguments):
        network = build(*arguments)
        built.append(network.encoder.output_channels[0])
        return network

    monkeypatch.setattr(nnUNetTrainerH2ASeg_L, "build_network_architecture", spy)

    def count(build_network, input_channels, patch_size, batch_size, limit=0, moments=1):
        build_network()
        return 1e8 * batch_size

    monkeypatch.setattr(planner_module, "training_step_bytes", count)
    file, _ = plan_dataset(ID, 8, "nnUNetTrainerH2ASeg_L", configurations=["3d_fullres"])

    assert file.name == "nnUNetH2ASeg_LPlans_8G.json"
    assert set(built) == {16}  # half of the plan's 32


@pytest.mark.parametrize(
    ("chosen", "written"),
    [
        (["2d"], {"2d"}),
        (["3d_fullres"], {"3d_fullres"}),
        (["3d_lowres"], {"3d_fullres", "3d_lowres", "3d_cascade_fullres"}),
        ([], {"2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres"}),
    ],
)
def test_chosen_configurations_are_written(dataset, formula, chosen, written):
    file, _ = plan_dataset(ID, 8, configurations=chosen)

    assert json.loads(file.read_text())["configurations"].keys() == written


def test_a_configuration_that_a_user_added_is_kept(dataset, formula):
    file, plans = plan_dataset(ID, 8)
    plans["configurations"]["3d_mine"] = {"inherits_from": "3d_fullres", "batch_size": 7}
    file.write_text(json.dumps(plans))

    plan_dataset(ID, 8)

    assert json.loads(file.read_text())["configurations"]["3d_mine"]["batch_size"] == 7


def test_a_configuration_that_the_dataset_does_not_need_is_named(dataset, formula):
    resize_images(dataset, [64, 64, 64])

    with pytest.raises(
        ValueError, match=r"no configuration 3d_cascade_fullres, 3d_lowres: nnU-Net planned 2d, 3d_full"
    ):
        plan_dataset(ID, 8, configurations=["3d_lowres"])
    assert not list(dataset.glob("nnUNetH2ASeg*"))


def test_too_little_memory_is_said(dataset, formula):
    with pytest.raises(ValueError, match=r"0\.1 GB is too small.*Raise -gpu_memory_target"):
        plan_dataset(ID, 0.1)
    assert not list(dataset.glob("nnUNetH2ASeg*"))


def test_no_memory_is_refused(dataset):
    with pytest.raises(ValueError, match="-gpu_memory_target -8"):
        plan_dataset(ID, -8)


@pytest.mark.filterwarnings("default")  # nnU-Net's search imports all of its trainers, and torchvision with them
def test_a_stock_trainer_is_refused(dataset):
    with pytest.raises(ValueError, match="nnUNetTrainer: no H2ASeg trainer"):
        plan_dataset(ID, 8, "nnUNetTrainer")


def test_a_single_modality_is_refused_with_the_cause(dataset):
    raw = dataset.parents[1] / "nnUNet_raw" / dataset.name / "dataset.json"
    raw.write_text(json.dumps(json.loads(raw.read_text()) | {"channel_names": {"0": "PET"}}))
    (raw.parent / "imagesTr" / "a_0001.nii.gz").unlink()

    with pytest.raises(ValueError, match="two modalities"):
        plan_dataset(ID, 8)


def test_a_dataset_without_its_raw_data_is_named(dataset):
    (dataset.parents[1] / "nnUNet_raw" / dataset.name / "dataset.json").unlink()

    with pytest.raises(ValueError, match=r"dataset\.json does not exist"):
        plan_dataset(ID, 8)


def test_the_command_says_what_was_planned_and_what_comes_next(dataset, formula, capsys):
    assert main(["plan", "-d", str(ID), "-gpu_memory_target", "8", "-c", "3d_fullres"]) == 0

    table, _, rest = capsys.readouterr().out.partition("configuration  ")[2].partition("\n\n")
    _, row = table.splitlines()
    plan = json.loads((dataset / "nnUNetH2ASegPlans_8G.json").read_text())["configurations"]["3d_fullres"]
    patch = " x ".join(map(str, plan["patch_size"]))
    assert row.startswith("3d_fullres") and patch in row and f"{plan['estimated_gpu_memory_gb']:.1f} GB" in row
    assert f"nnUNetv2_preprocess -d {ID} -plans_name nnUNetH2ASegPlans_8G" in rest
    assert f"nnUNetv2_train {ID} CONFIGURATION FOLD -tr nnUNetTrainerH2ASeg -p nnUNetH2ASegPlans_8G" in rest


def test_the_command_reports_an_unknown_dataset_in_one_line(dataset, capsys):
    assert main(["plan", "-d", "77", "-gpu_memory_target", "8"]) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("h2aseg plan: ") and "should hold one dataset Dataset077_*" in line


def test_the_command_reports_an_unknown_trainer_in_one_line(dataset, capsys):
    assert main(["plan", "-d", str(ID), "-gpu_memory_target", "8", "-tr", "nnUNetTrainerNobodys"]) == 1

    assert "h2aseg plan: -tr nnUNetTrainerNobodys: nnU-Net finds no such trainer" in capsys.readouterr().err
