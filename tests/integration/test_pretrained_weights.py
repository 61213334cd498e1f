"""Fine-tuning from a run with other labels, in the steps of nnU-Net's documentation."""

import pytest
import torch

from tests.integration.nnunet_workspace import STOCK_SHORT, UNTRAINED

PLANS = "nnUNetPlansOfBinary"


@pytest.fixture(scope="module")
def pretrained(workspace):
    """The checkpoint of a run on binary labels."""
    return workspace.trained("binary").model() / "fold_0" / "checkpoint_final.pth"


def weights(checkpoint) -> dict[str, torch.Tensor]:
    return torch.load(checkpoint, weights_only=False)["network_weights"]


def prepare(workspace, scheme):
    """The target dataset, preprocessed by the plans of the pretraining."""
    dataset = workspace.dataset(scheme)
    if not (dataset.preprocessed / f"{PLANS}.json").exists():
        source = workspace.dataset("binary").id
        workspace.run(f"nnUNetv2_move_plans_between_datasets -s {source} -t {dataset.id} -sp nnUNetPlans -tp {PLANS}")
        workspace.run(f"nnUNetv2_preprocess -d {dataset.id} -plans_name {PLANS} -c 3d_fullres -np 1 --no_pbar")
    return dataset


@pytest.mark.parametrize("scheme", ["classes", "regions"])
def test_everything_but_the_segmentation_heads_is_transferred(workspace, pretrained, scheme):
    dataset = prepare(workspace, scheme)
    train = f"nnUNetv2_train {dataset.id} 3d_fullres 0 -tr {UNTRAINED} -p {PLANS} -device cpu"
    checkpoint = dataset.model(trainer=UNTRAINED, plans=PLANS) / "fold_0" / "checkpoint_final.pth"

    workspace.run(train)
    fresh = weights(checkpoint)
    workspace.run(train, "-pretrained_weights", pretrained)
    transferred = weights(checkpoint)

    source = weights(pretrained)
    assert transferred.keys() == fresh.keys()
    body = [key for key in transferred if ".seg_layers." not in key]
    heads = [key for key in transferred if ".seg_layers." in key]
    assert len(body) > 50 and heads
    assert all(torch.equal(transferred[key], source[key]) for key in body)
    assert not all(torch.equal(fresh[key], source[key]) for key in body)
    assert all(torch.equal(transferred[key], fresh[key]) for key in heads)  # the same seed, and nothing transferred


def test_a_fine_tuned_network_trains_on(workspace, pretrained):
    dataset = prepare(workspace, "classes")

    workspace.trained("classes", plans=PLANS, options=f"-pretrained_weights {pretrained}")

    checkpoint = torch.load(
        dataset.model(plans=PLANS) / "fold_0" / "checkpoint_final.pth", weights_only=False, map_location="cpu"
    )
    assert checkpoint["current_epoch"] == 2
    assert all(torch.isfinite(weight).all() for weight in checkpoint["network_weights"].values())


def test_weights_of_a_stock_network_are_refused(workspace):
    dataset = workspace.trained("binary", "2d", trainer=STOCK_SHORT)
    stock = dataset.model("2d", STOCK_SHORT) / "fold_0" / "checkpoint_final.pth"

    with pytest.raises(AssertionError, match="do not seem to be compatible with your network"):
        workspace.run(f"nnUNetv2_train {dataset.id} 2d 1 -tr {UNTRAINED} -device cpu", "-pretrained_weights", stock)
