"""Whether attention and TAMW respond to what they read: `python -m studies.saturation FOLD_FOLDER ...`.

Every model reads the same training batches. Three things are measured, as means over batches.

- Attention: the standard deviation of the scores before softmax, and the weight of the token that is read most. A
  weight of 1 is a hard choice of one token, which leaves queries and keys hardly any gradient.
- What attention adds to a stream: its standard deviation over positions, divided by the stream's. Far above 1, the norm
  that follows the sum leaves little of the stream.
- The gains of TAMW: their mean absolute value, and their standard deviation from patch to patch. 0 is a constant.

Needs nnUNet_preprocessed, and nnUNet_extTrainer for trainers outside of the package.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from h2aseg_nnunet.network.attention import CrossModalAttention, GlobalAttention
from h2aseg_nnunet.network.mcsa import BetweenWindows, WithinWindows
from h2aseg_nnunet.network.tamw import ChannelGains, GatedTAMW


class Focus(NamedTuple):
    """Means over queries: standard deviation of scores among the tokens that may be read, and the largest weight."""

    score_std: float
    largest_weight: float


class Gains(NamedTuple):
    """Means over channels: absolute gain, and its standard deviation from patch to patch."""

    magnitude: float
    std_over_patches: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.saturation", description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLD_FOLDER", help="has checkpoint_final.pth")
    parser.add_argument("--batches", type=int, default=4, help="training batches to read (default: %(default)s)")
    options = parser.parse_args()
    print("| model | module | scores, deviation | largest weight | added, ratio | gains, magnitude | over patches |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as results:
        os.environ["nnUNet_results"] = results  # noqa: SIM112, nnU-Net's own name; a trainer writes a log at once
        for folder in options.folders:
            network, images = load(folder / "checkpoint_final.pth", options.batches)
            print_rows(folder.parent.name, network, images)


def print_rows(model: str, network: nn.Module, images: list[Tensor]) -> None:
    for name, (score_std, largest_weight) in measure_focus(network, images).items():
        print(f"| {model} | {name} | {score_std:.1f} | {largest_weight:.2f} | | | |")
    for name, ratio in measure_updates(network, images).items():
        print(f"| {model} | {name} | | | {ratio:.2f} | | |")
    for name, (magnitude, std_over_patches) in measure_gain_spread(network, images).items():
        print(f"| {model} | {name} | | | | {magnitude:.2f} | {std_over_patches:.3f} |")


def load(checkpoint_file: Path, num_batches: int) -> tuple[nn.Module, list[Tensor]]:
    """A trained network and training batches, the same for every trainer of the same plan and fold."""
    # nnU-Net reads nnUNet_results when it is imported
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    from h2aseg_nnunet.petct.nnunet.seeding import seed_batches

    checkpoint = torch.load(checkpoint_file, map_location="cpu", weights_only=False)
    arguments = checkpoint["init_args"] | {"device": torch.device("cpu")}
    arguments["plans"]["continue_training"] = False  # nnUNetv2_train adds it, the trainer takes it out
    trainer = recursive_find_trainer_class_by_name(checkpoint["trainer_name"])(**arguments)
    trainer.initialize()
    trainer.load_checkpoint(str(checkpoint_file))
    trainer.current_epoch = 0  # whose batches are drawn
    seed_batches(trainer, seed=0)
    training, _ = trainer.get_dataloaders()
    return trainer.network, [next(training)["data"] for _ in range(num_batches)]


@torch.no_grad()
def measure_focus(network: nn.Module, images: Iterable[Tensor]) -> dict[str, Focus]:
    """Focus of every attention by its name and what it reads: the stream itself or the other one."""
    found: dict[str, list[Focus]] = {}

    def measure(name: str, module: CrossModalAttention, tokens: dict, output: Tensor) -> None:
        projections = module.project(tokens["target"], tokens["source"])
        itself = focus_of(projections.query_target, projections.key_target, tokens["mask"])
        other = focus_of(projections.query_source, projections.key_source, tokens["mask"])
        found.setdefault(f"{name}, itself", []).append(itself)
        found.setdefault(f"{name}, the other", []).append(other)

    with _watched(network, CrossModalAttention, measure):
        for image in images:
            network(image)
    return {name: Focus(*torch.tensor(each).mean(0).tolist()) for name, each in found.items()}


def focus_of(query: Tensor, key: Tensor, mask: Tensor | None) -> Focus:
    """query, key: (b, n, t, k); mask: (1, n, t), False at tokens that neither read nor are read, or None."""
    score_std, largest_weight = [], []
    for window in range(query.shape[1]):
        here = slice(None) if mask is None else mask[0, window]
        scores = query[:, window, here].float() @ key[:, window, here].float().mT * query.shape[-1] ** -0.5
        score_std.append(scores.std(-1).flatten())
        largest_weight.append(scores.softmax(-1).amax(-1).flatten())
    return Focus(torch.cat(score_std).mean().item(), torch.cat(largest_weight).mean().item())


@torch.no_grad()
def measure_updates(network: nn.Module, images: Iterable[Tensor]) -> dict[str, float]:
    """Standard deviation over positions of what attention adds, over that of the stream: by module and stream."""
    found: dict[str, list[float]] = {}

    def measure(name: str, module: nn.Module, maps: dict, output: tuple[Tensor, Tensor]) -> None:
        for (stream, map_), update in zip(maps.items(), output, strict=True):
            if isinstance(module, GlobalAttention):
                update = update - map_  # it has added already
            found.setdefault(f"{name}, {stream.upper()}", []).append(_spread(update) / _spread(map_))

    with _watched(network, (BetweenWindows, WithinWindows, GlobalAttention), measure):
        for image in images:
            network(image)
    return {name: sum(each) / len(each) for name, each in found.items()}


def _spread(x: Tensor) -> float:
    """Root mean square over channels of the standard deviation over positions. x: (b, c, *)."""
    return x.float().flatten(2).var(-1, correction=0).mean().sqrt().item()


@torch.no_grad()
def measure_gain_spread(network: nn.Module, images: Iterable[Tensor]) -> dict[str, Gains]:
    """Gains of every TAMW by the name of their module: of tumor and background, or of tumor alone if it is gated."""
    found: dict[str, list[Tensor]] = {}

    def measure(name: str, module: nn.Module, features: dict, output: Tensor) -> None:
        gains = module.gains(**features)[0] if isinstance(module, GatedTAMW) else output
        found.setdefault(name, []).append(gains)

    with _watched(network, (ChannelGains, GatedTAMW), measure):
        for image in images:
            network(image)
    gains = {name: torch.cat(each) for name, each in found.items()}  # (patches, channels)
    return {name: Gains(each.abs().mean().item(), each.std(0).mean().item()) for name, each in gains.items()}


@contextmanager
def _watched(
    network: nn.Module, cls: type[nn.Module] | tuple[type[nn.Module], ...], measure: Callable[..., None]
) -> Iterator[None]:
    """Call measure(name, module, keyword arguments, output) after every forward of modules of a class or several."""

    def hook_of(name: str) -> Callable[..., None]:
        return lambda module, args, kwargs, output: measure(name, module, kwargs, output)

    with ExitStack() as hooks:
        for name, module in network.named_modules():
            if isinstance(module, cls):
                hooks.enter_context(module.register_forward_hook(hook_of(name), with_kwargs=True))
        yield


if __name__ == "__main__":
    main()
