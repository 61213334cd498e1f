"""How sharply attention reads: `python -m benchmarks.attention_focus FOLD_FOLDER ...` of trained models.

For every attention, over batches as in training, the same for all models: the standard deviation of its scores before
softmax, and the weight of the token that is read most, mean over all that read. 1 is a hard choice of one token, which
leaves queries and keys without a gradient. Needs nnUNet_preprocessed (and nnUNet_extTrainer for trainers of your own).
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.stage_losses import load
from h2aseg_nnunet.network.attention import CrossModalAttention


class Focus(NamedTuple):
    """Means over queries: standard deviation of scores among the tokens that may be read, and the largest weight."""

    score_std: float
    largest_weight: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attention_focus", description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLD_FOLDER", help="with checkpoint_final.pth")
    parser.add_argument("--batches", type=int, default=4, help="default: %(default)s")
    parser.add_argument("-device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["nnUNet_results"] = folder  # noqa: SIM112, nnU-Net's own name; a trainer writes its log at once
        print("| model | attention | reads | scores, standard deviation | largest weight |")
        print("|---|---|---|---|---|")
        for fold in tqdm(options.folders, disable=len(options.folders) == 1):
            trainer = load(fold / "checkpoint_final.pth", torch.device(options.device))
            training, _ = trainer.get_dataloaders()
            images = [next(training)["data"].to(trainer.device) for _ in range(options.batches)]
            for names, (score_std, largest_weight) in measure_focus(trainer.network, images).items():
                print(f"| {fold.parent.name} | {' | '.join(names)} | {score_std:.1f} | {largest_weight:.2f} |")


@torch.no_grad()
def measure_focus(network: nn.Module, images: Iterable[Tensor]) -> dict[tuple[str, str], Focus]:
    """Focus of every attention by its name and what it reads: the stream itself or the other one."""
    found: dict[tuple[str, str], list[Focus]] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: CrossModalAttention, args: tuple, tokens: dict, output: Tensor) -> None:
            projections = module.project(tokens["target"], tokens["source"], tokens["positions"])
            pairs = {
                "itself": (projections.query_target, projections.key_target),
                "the other": (projections.query_source, projections.key_source),
            }
            for reads, (query, key) in pairs.items():
                found.setdefault((name, reads), []).append(focus_of(query, key, tokens["mask"]))

        return hook

    with ExitStack() as hooks:
        for name, module in network.named_modules():
            if isinstance(module, CrossModalAttention):
                hooks.enter_context(module.register_forward_hook(keep(name), with_kwargs=True))
        for image in images:
            network(image)
    return {
        key: Focus(*(sum(values) / len(values) for values in zip(*each, strict=True))) for key, each in found.items()
    }


def focus_of(query: Tensor, key: Tensor, mask: Tensor | None) -> Focus:
    """query, key: (b, n, t, k); mask: (1, n, t), False at tokens that neither read nor are read, or None."""
    score_std, largest_weight = [], []
    for window in range(query.shape[1]):
        here = slice(None) if mask is None else mask[0, window]
        scores = query[:, window, here].float() @ key[:, window, here].float().mT * query.shape[-1] ** -0.5
        score_std.append(scores.std(-1).flatten())
        largest_weight.append(scores.softmax(-1).amax(-1).flatten())
    return Focus(torch.cat(score_std).mean().item(), torch.cat(largest_weight).mean().item())


if __name__ == "__main__":
    main()
