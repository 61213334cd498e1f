"""Every kind of labels: what the heads stand for, what drives TAMW, and what the ignore label leaves out."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.run.run_training import get_trainer_from_args
from torch.nn import functional as F

from h2aseg_nnunet.network.resize import resize
from h2aseg_nnunet.network.tamw import GatedTAMW
from tests.integration.nnunet_workspace import SHORT
from tests.integration.tiny_datasets import SCHEMES, read_probabilities
from tests.synthetic import read_array

NUM_HEADS = {"binary": 2, "classes": 3, "regions": 2, "ignore": 2, "regions_ignore": 2, "one_region": 1}
REGION_SCHEMES = [scheme for scheme, content in SCHEMES.items() if "regions_class_order" in content]
IGNORE_SCHEMES = [scheme for scheme, content in SCHEMES.items() if "ignore" in content["labels"]]


def rebuild(workspace, scheme) -> nnUNetPredictor:
    """The predictor as nnUNetv2_predict makes it: its network is not told what the labels are."""
    dataset = workspace.trained(scheme)
    with workspace.environment():
        predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(str(dataset.model()), ("0",))
    return predictor


def make_trainer(workspace, scheme):
    """The trainer as nnUNetv2_train makes it, initialised."""
    dataset = workspace.dataset(scheme)
    with workspace.environment():
        trainer = get_trainer_from_args(dataset.id, "3d_fullres", 0, SHORT, device=torch.device("cpu"))
        trainer.initialize()
    return trainer


def training_batches(trainer, workspace) -> Iterator[dict]:
    with workspace.environment(nnUNet_n_proc_DA="0"):
        np.random.seed(0)
        batches, _ = trainer.get_dataloaders()
    return batches


@contextmanager
def tumor_maps_of_tamw():
    """Collects the tumour probabilities that TAMW is given, coarsest stage first."""
    maps, forward = [], GatedTAMW.forward

    def record(self, *, tumor, **features):
        maps.append(tumor.detach())
        return forward(self, tumor=tumor, **features)

    with mock.patch.object(GatedTAMW, "forward", record):
        yield maps


def tumor_probability(logits: torch.Tensor, size: torch.Size, has_regions: bool) -> torch.Tensor:
    """The definition: up-sampled logits, then the largest region's sigmoid or one minus background's softmax."""
    logits = F.interpolate(logits, size=size, mode="trilinear", align_corners=True)
    return logits.sigmoid().amax(1, keepdim=True) if has_regions else 1 - logits.softmax(1)[:, :1]


def assert_tamw_reads(maps: list[torch.Tensor], outputs: list[torch.Tensor], has_regions: bool):
    """`outputs`: logits of all stages, finest first."""
    assert len(maps) == len(outputs) - 1
    for tumor, logits in zip(maps, reversed(outputs[1:]), strict=True):
        torch.testing.assert_close(tumor, tumor_probability(logits, tumor.shape[2:], has_regions), atol=1e-5, rtol=1e-5)
        other = tumor_probability(logits, tumor.shape[2:], not has_regions)
        assert (tumor - other).abs().max() > 1e-3  # or the line above could not fail


@pytest.mark.parametrize("scheme", SCHEMES)
def test_training_validation_and_prediction_agree(workspace, scheme, tmp_path):
    """Trains, validates with the network in memory, and predicts with the one rebuilt from the checkpoint."""
    dataset = workspace.trained(scheme)
    ((case, in_memory),) = read_probabilities(dataset.model() / "fold_0" / "validation").items()
    images = workspace.images(dataset, [case], tmp_path / "images")

    from_checkpoint = workspace.predict(dataset, images, tmp_path / "out")[case]

    np.testing.assert_array_equal(from_checkpoint, in_memory)
    assert len(in_memory) == NUM_HEADS[scheme]
    assert in_memory.std() > 1e-3
    labels = read_array(tmp_path / "out" / f"{case}.nii.gz")
    np.testing.assert_array_equal(labels, label_map(in_memory, scheme))


def label_map(probabilities: np.ndarray, scheme: str) -> np.ndarray:
    """Classes: the most probable. Regions: where a region is likely, its label, later regions over earlier ones."""
    if scheme not in REGION_SCHEMES:
        return probabilities.argmax(0)
    labels = np.zeros(probabilities.shape[1:])
    for region, label in zip(probabilities, SCHEMES[scheme]["regions_class_order"], strict=True):
        labels[region > 0.5] = label
    return labels


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_summary_reports_every_class_or_region(workspace, scheme):
    dataset = workspace.trained(scheme)
    summary = json.loads((dataset.model() / "fold_0" / "validation" / "summary.json").read_text())

    labels = [label for name, label in SCHEMES[scheme]["labels"].items() if name not in ("background", "ignore")]
    expected = [str(tuple(label) if isinstance(label, list) else label) for label in labels]
    assert list(summary["mean"]) == expected


@pytest.mark.parametrize("scheme", SCHEMES)
def test_tamw_reads_sigmoids_of_regions_and_softmax_of_classes_in_training(workspace, scheme):
    trainer = make_trainer(workspace, scheme)
    trainer.network.train()

    with tumor_maps_of_tamw() as maps:
        outputs = trainer.network(next(training_batches(trainer, workspace))["data"])

    assert_tamw_reads(maps, outputs, has_regions=scheme in REGION_SCHEMES)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_tamw_reads_the_same_in_the_network_rebuilt_for_prediction(workspace, scheme):
    predictor = rebuild(workspace, scheme)
    network = predictor.network.eval()
    image = torch.randn(1, 2, *predictor.configuration_manager.patch_size, generator=torch.Generator().manual_seed(0))

    network.decoder.deep_supervision = True
    with torch.no_grad(), tumor_maps_of_tamw() as maps:
        outputs = network(image)

    assert_tamw_reads(maps, outputs, has_regions=scheme in REGION_SCHEMES)


@pytest.mark.parametrize("scheme", ["classes", "regions"])
def test_the_rebuilt_network_has_the_logits_of_the_one_in_memory(workspace, scheme):
    predictor = rebuild(workspace, scheme)
    trainer = make_trainer(workspace, scheme)
    trainer.load_checkpoint(str(workspace.trained(scheme).model() / "fold_0" / "checkpoint_final.pth"))
    trainer.set_deep_supervision_enabled(False)
    image = torch.randn(1, 2, *predictor.configuration_manager.patch_size, generator=torch.Generator().manual_seed(0))

    with torch.no_grad():
        in_memory, rebuilt = trainer.network.eval()(image), predictor.network.eval()(image)
        trainer.network.decoder.seg_layers.set_regions(scheme not in REGION_SCHEMES)
        mistaken = trainer.network(image)

    assert torch.equal(in_memory, rebuilt)
    assert (mistaken - in_memory).abs().max() > 1e-4  # the flag matters


@pytest.mark.parametrize("scheme", IGNORE_SCHEMES)
def test_ignored_voxels_do_not_train_any_stage(workspace, scheme):
    trainer = make_trainer(workspace, scheme)
    for batch in training_batches(trainer, workspace):
        annotated = ~ignored_voxels(batch["target"][0], scheme)
        taught = [reaching(annotated, target.shape[2:]) for target in batch["target"]]
        if not any(mask.all() for mask in taught):  # not every patch reaches far into the upper third
            break
    outputs = [output.detach().requires_grad_() for output in trainer.network(batch["data"])]

    trainer.loss(outputs, batch["target"]).backward()

    assert len(outputs) == len(taught) == 2
    for output, mask in zip(outputs, taught, strict=True):
        assert torch.equal(output.grad.abs().sum(1, keepdim=True) > 0, mask)


def reaching(annotated: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Positions of a stage that are interpolated to annotated voxels of full resolution, where stages are compared."""
    logits = torch.zeros(*annotated.shape[:2], *size, requires_grad=True)
    resize(logits, annotated.shape[2:])[annotated].sum().backward()
    return logits.grad > 0


def ignored_voxels(target: torch.Tensor, scheme: str) -> torch.Tensor:
    """nnU-Net's targets: labels; for regions one channel each, and one for the ignore label."""
    return target[:, -1:].bool() if scheme in REGION_SCHEMES else target == SCHEMES[scheme]["labels"]["ignore"]


@pytest.mark.parametrize("scheme", IGNORE_SCHEMES)
def test_evaluation_leaves_ignored_voxels_out(workspace, scheme):
    dataset = workspace.trained(scheme)
    validation = dataset.model() / "fold_0" / "validation"
    (case,) = json.loads((validation / "summary.json").read_text())["metric_per_case"]
    reference, prediction = (read_array(case[key]) for key in ("reference_file", "prediction_file"))
    annotated = reference != SCHEMES[scheme]["labels"]["ignore"]

    name = "(1, 2)" if scheme in REGION_SCHEMES else "1"
    hit = ((reference > 0) & (prediction > 0) & annotated).sum()
    dice = 2 * hit / (((reference > 0) & annotated).sum() + ((prediction > 0) & annotated).sum())
    assert case["metrics"][name]["Dice"] == pytest.approx(dice)
    assert SCHEMES[scheme]["labels"]["ignore"] not in prediction
