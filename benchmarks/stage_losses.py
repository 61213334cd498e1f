"""What every stage has learned: `python -m benchmarks.stage_losses FOLD_FOLDER ...` of trained models.

Losses of each output by itself, at its own resolution, over batches as in training, the same for all models; and how
often a batch with tumour has none left in the coarser labels. Needs nnUNet_preprocessed (and nnUNet_extTrainer for
trainers of your own).
"""

import argparse
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stage_losses", description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLD_FOLDER", help="with checkpoint_final.pth")
    parser.add_argument("--batches", type=int, default=40, help="default: %(default)s")
    parser.add_argument("-device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["nnUNet_results"] = folder  # noqa: SIM112, nnU-Net's own name; a trainer writes its log at once
        print("| model | loss by stage, full resolution first | weights | tumour lost in the label |")
        print("|---|---|---|---|")
        for fold in options.folders:
            trainer = load(fold / "checkpoint_final.pth", torch.device(options.device))
            training, _ = trainer.get_dataloaders()
            batches = [next(training) for _ in range(options.batches)]
            losses = stage_losses(trainer.network, trainer.loss.loss, batches, trainer.device)
            cells = (losses, trainer.loss.weight_factors, lost_labels(batch["target"] for batch in batches))
            print(f"| {fold.parent.name} | {' | '.join(', '.join(f'{v:.3f}' for v in cell) for cell in cells)} |")


def load(checkpoint_file: Path, device: torch.device) -> Any:
    """The trainer with its final weights; its loaders make the same batches whatever was trained, however long."""
    # nnU-Net reads nnUNet_results when it is imported
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    from h2aseg_nnunet.trainer.seeding import seed_batches

    checkpoint = torch.load(checkpoint_file, map_location="cpu", weights_only=False)
    arguments = checkpoint["init_args"] | {"device": device}
    arguments["plans"]["continue_training"] = False  # nnUNetv2_train adds it, the trainer takes it out
    trainer = recursive_find_trainer_class_by_name(checkpoint["trainer_name"])(**arguments)
    trainer.initialize()
    trainer.load_checkpoint(str(checkpoint_file))
    trainer.current_epoch = 0  # whose batches are drawn
    seed_batches(trainer, seed=0)
    return trainer


@torch.no_grad()
def stage_losses(network: nn.Module, loss: nn.Module, batches: Iterable[dict], device: torch.device) -> list[float]:
    """Mean over batches of every output's loss with the target of its own resolution, in training mode."""
    network.train()
    losses = []
    for batch in batches:
        outputs = network(batch["data"].to(device))
        losses.append([loss(o, t.to(device)).item() for o, t in zip(outputs, batch["target"], strict=True)])
    return np.mean(losses, axis=0).tolist()


def lost_labels(targets: Iterable[list[torch.Tensor]]) -> list[float]:
    """For every stage: the share of batches with tumour (label 1) at full resolution whose label there has none."""
    has_tumor = np.array([[bool((target == 1).any()) for target in each] for each in targets])
    return (1 - has_tumor[has_tumor[:, 0]].mean(axis=0)).tolist()


if __name__ == "__main__":
    main()
