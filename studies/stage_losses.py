"""What every stage has learned: `python -m studies.stage_losses FOLD_FOLDER ...` of trained models.

Losses of each output by itself, at its own resolution, over batches as in training, the same for all models; and how
often a batch with tumour has none left in the coarser labels. Needs nnUNet_preprocessed (and nnUNet_extTrainer for
trainers of your own).
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from studies.trained_models import trained_models


def main() -> None:
    models = trained_models("stage_losses", __doc__, batches=40)
    print("| model | loss by stage, full resolution first | weights | tumour lost in the label |")
    print("|---|---|---|---|")
    for name, trainer, batches in models:
        losses = stage_losses(trainer.network, trainer.loss.loss, batches, trainer.device)
        cells = (losses, trainer.loss.weight_factors, lost_labels(batch["target"] for batch in batches))
        print(f"| {name} | {' | '.join(', '.join(f'{v:.3f}' for v in cell) for cell in cells)} |")


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
