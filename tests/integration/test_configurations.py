"""Every configuration and every planner of nnU-Net, trained and predicted by its commands."""

import json
from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from h2aseg_nnunet import H2ASeg, nnUNetTrainerH2ASeg
from tests.integration.nnunet_workspace import GPU_MEMORY_GB, SHORT, Workspace
from tests.integration.tiny_datasets import SCHEMES, SPACING_MM, read_probabilities, write_raw_dataset
from tests.synthetic import read_array, write_image

LOWRES_FOLD = "all"  # the cascade trains on predictions of every case: those of five folds, or of fold "all"
PRESETS = {
    "ResEncUNetPlanner": "nnUNetResEncUNetPlans",
    "nnUNetPlannerResEncM": "nnUNetResEncUNetMPlans",
    "nnUNetPlannerResEncL": "nnUNetResEncUNetLPlans",
}


@pytest.fixture(scope="module", params=["binary", pytest.param("regions", marks=pytest.mark.slow)])
def cascade(workspace, request):
    """A dataset with 3d_lowres trained on all cases, and the cascade's second stage on top."""
    workspace.trained(request.param, "3d_lowres", LOWRES_FOLD)
    return workspace.trained(request.param, "3d_cascade_fullres")


@contextmanager
def training_images():
    """Collects the batches of images that H2ASeg trains on."""
    images, train_step = [], nnUNetTrainerH2ASeg.train_step

    def record(self, batch):
        images.append(batch["data"])
        return train_step(self, batch)

    with mock.patch.object(nnUNetTrainerH2ASeg, "train_step", record):
        yield images


def rebuild(workspace, model, fold="0") -> nnUNetPredictor:
    """The predictor as nnUNetv2_predict makes it."""
    with workspace.environment():
        predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(str(model), (fold,))
    return predictor


def assert_prediction_repeats_validation(workspace, dataset, output, configuration, fold="0", plans="nnUNetPlans"):
    """Training ends by predicting its validation cases with the network in memory; nnUNetv2_predict rebuilds it."""
    model = dataset.model(configuration, plans=plans)
    in_memory = read_probabilities(model / f"fold_{fold}" / "validation")
    images = workspace.images(dataset, list(in_memory), output / "images")

    from_checkpoint = workspace.predict(dataset, images, output / "out", configuration, fold, plans=plans)

    assert list(from_checkpoint) == list(in_memory) != []
    for case, probabilities in in_memory.items():
        np.testing.assert_array_equal(from_checkpoint[case], probabilities)
        labels = read_array(output / "out" / f"{case}.nii.gz")
        np.testing.assert_array_equal(labels, probabilities.argmax(0))
        assert labels.shape == read_array(images / f"{case}_0000.nii.gz").shape
        assert probabilities.std() > 1e-3  # equal maps tell something


@pytest.mark.parametrize(("configuration", "fold"), [("2d", "0"), ("3d_fullres", "0"), ("3d_lowres", LOWRES_FOLD)])
def test_a_configuration_trains_and_predicts_the_same_from_its_checkpoint(workspace, configuration, fold, tmp_path):
    dataset = workspace.trained("binary", configuration, fold)

    assert_prediction_repeats_validation(workspace, dataset, tmp_path, configuration, fold)

    checkpoint = torch.load(dataset.model(configuration) / f"fold_{fold}" / "checkpoint_final.pth", weights_only=False)
    assert checkpoint["trainer_name"] == SHORT
    assert np.isfinite(checkpoint["logging"]["train_losses"]).all()
    network = rebuild(workspace, dataset.model(configuration), fold).network
    assert isinstance(network, H2ASeg)
    plan = dataset.plans()["configurations"][configuration]
    features = plan["architecture"]["arch_kwargs"]["features_per_stage"]
    assert network.encoder.output_channels == [n // 4 for n in features]
    assert {w.ndim - 2 for w in network.state_dict().values() if w.ndim > 2} <= {len(plan["patch_size"])}


def test_the_planner_itself_offers_the_cascade_on_small_patches(workspace):
    """Otherwise the tests below would show less than they say."""
    configurations = workspace.dataset("binary").plans()["configurations"]

    assert set(configurations) == {"2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"}
    assert configurations["3d_lowres"]["spacing"] > configurations["3d_fullres"]["spacing"]


def test_the_previous_stage_reaches_both_streams(cascade, workspace):
    network = rebuild(workspace, cascade.model("3d_cascade_fullres")).network

    previous = {"binary": [2], "regions": [2, 3]}[cascade.scheme]  # one channel for each foreground label
    assert (network.ct_channels, network.pet_channels) == ([0, *previous], [1, *previous])


def test_perturbing_the_previous_stages_segmentation_changes_the_cascades_prediction(cascade, workspace, tmp_path):
    images = workspace.images(cascade, cascade.cases[:1], tmp_path / "images")
    lowres = tmp_path / "lowres"
    workspace.predict(cascade, images, lowres, "3d_lowres", LOWRES_FOLD)
    case = f"{cascade.cases[0]}.nii.gz"
    segmentation = read_array(lowres / case)
    perturbed = segmentation.copy()
    perturbed[8:12, 8:12, 8:12] ^= 1
    write_image(tmp_path / "perturbed" / case, perturbed, SPACING_MM)

    def predict(previous, output):
        options = f"-prev_stage_predictions {previous}"
        (probabilities,) = workspace.predict(cascade, images, output, "3d_cascade_fullres", options=options).values()
        return probabilities

    unperturbed = predict(lowres, tmp_path / "first")
    assert np.abs(predict(tmp_path / "perturbed", tmp_path / "second") - unperturbed).max() > 1e-4
    np.testing.assert_array_equal(predict(lowres, tmp_path / "third"), unperturbed)


def test_training_the_cascade_reads_the_previous_stages_predictions(cascade, workspace):
    """One-hot foreground labels of stage 1, for every case, are the channels from the third on."""
    with training_images() as images:
        workspace.run(f"nnUNetv2_train {cascade.id} 3d_cascade_fullres 1 -tr {SHORT} -device cpu")

    previous = torch.cat(images)[:, 2:]
    assert set(previous.unique().tolist()) == {0.0, 1.0}
    predicted = cascade.model("3d_lowres") / "predicted_next_stage" / "3d_cascade_fullres"
    assert sorted(file.stem for file in predicted.glob("*.b2nd")) == cascade.cases


def test_the_cascade_without_the_previous_stage_is_refused(cascade, workspace, tmp_path):
    images = workspace.images(cascade, cascade.cases[:1], tmp_path / "images")

    with pytest.raises(AssertionError, match=r"cascaded network. It requires the segmentations of the previous stage"):
        workspace.predict(cascade, images, tmp_path / "out", "3d_cascade_fullres")


@pytest.fixture
def derive(workspace):
    """Adds a configuration that inherits from 3d_fullres to the plans file, as nnU-Net's documentation tells to."""

    def add(name: str, **changes):
        dataset = workspace.dataset("binary")
        file = dataset.preprocessed / "nnUNetPlans.json"
        plans = json.loads(file.read_text())
        plans["configurations"][name] = {"inherits_from": "3d_fullres", **changes}
        file.write_text(json.dumps(plans))
        return dataset

    return add


@pytest.mark.parametrize(
    ("name", "changes", "shape"),
    [
        ("3d_fullres_batch3", {"batch_size": 3}, (3, 2, 8, 8, 10)),
        ("3d_fullres_patch", {"patch_size": [12, 9, 14]}, (2, 2, 12, 9, 14)),  # strides do not divide 9
    ],
)
def test_a_configuration_that_inherits_trains_at_its_own_size(workspace, derive, tmp_path, name, changes, shape):
    dataset = derive(name, **changes)

    with training_images() as images:
        workspace.trained("binary", name)

    assert {tuple(batch.shape) for batch in images} == {shape}
    assert_prediction_repeats_validation(workspace, dataset, tmp_path, name)


@pytest.mark.parametrize(("planner", "plans"), PRESETS.items())
def test_plans_of_the_residual_encoder_planners_train_and_predict(workspace, tmp_path, planner, plans):
    """With the planner's own memory target: the patch holds the whole tiny image."""
    dataset = workspace.dataset("binary")
    workspace.run(f"nnUNetv2_plan_experiment -d {dataset.id} -pl {planner}")
    workspace.run(f"nnUNetv2_preprocess -d {dataset.id} -plans_name {plans} -c 3d_fullres -np 1 --no_pbar")
    plan = dataset.plans(plans)["configurations"]["3d_fullres"]

    with training_images() as images:
        workspace.trained("binary", plans=plans)

    assert plan["architecture"]["network_class_name"].endswith("ResidualEncoderUNet")
    assert {tuple(batch.shape[2:]) for batch in images} == {tuple(plan["patch_size"])}
    assert_prediction_repeats_validation(workspace, dataset, tmp_path, "3d_fullres", plans=plans)
    network = rebuild(workspace, dataset.model(plans=plans)).network
    assert network.encoder.strides == plan["architecture"]["arch_kwargs"]["strides"]


@pytest.mark.slow
def test_planning_training_and_prediction_as_processes_of_their_own(tmp_path):
    """The same commands with nothing of this test session in between, worker processes included."""
    workspace = Workspace(tmp_path / "nnunet")
    dataset = workspace.locate(950, "regions")
    write_raw_dataset(dataset)

    def run(command, *paths):
        done = workspace.run_process(command, *paths)
        assert done.returncode == 0, done.stdout + done.stderr

    run(
        "nnUNetv2_plan_and_preprocess -d 950 -npfp 2 -np 2 -c 3d_fullres --verify_dataset_integrity "
        f"-gpu_memory_target {GPU_MEMORY_GB}"
    )
    run(f"nnUNetv2_train 950 3d_fullres 0 -tr {SHORT} -device cpu --npz")
    in_memory = read_probabilities(dataset.model() / "fold_0" / "validation")
    images = workspace.images(dataset, list(in_memory), tmp_path / "images")
    run(
        f"nnUNetv2_predict -d 950 -c 3d_fullres -f 0 -tr {SHORT} -device cpu -npp 1 -nps 1 --save_probabilities",
        *("-i", images, "-o", tmp_path / "out"),
    )

    from_checkpoint = read_probabilities(tmp_path / "out")
    assert list(from_checkpoint) == list(in_memory) != []
    for case, probabilities in in_memory.items():
        assert len(probabilities) == len(SCHEMES["regions"]["regions_class_order"])
        np.testing.assert_allclose(from_checkpoint[case], probabilities, atol=1e-3)
