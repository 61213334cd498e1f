"""Whether attention and TAMW respond to what they read: `python -m studies.saturation FOLD_FOLDER ...`.

Over batches as in training, the same for all models. For every attention: the standard deviation of its scores before
softmax, and the weight of the token that is read most, mean over all that read; 1 is a hard choice of one token, which
leaves queries and keys no gradient but at ties. What it adds to a stream, against that stream: the ratio of their
standard deviations over positions; much more than 1, and the norm that follows the sum leaves little of the stream. For
the gains of every TAMW: their mean absolute value, and how much they differ from patch to patch, standard deviation,
mean over channels; 0 is a constant factor. Needs nnUNet_preprocessed (and nnUNet_extTrainer for trainers of your own).
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from h2aseg_nnunet.network.attention import CrossModalAttention, GlobalAttention
from h2aseg_nnunet.network.mcsa import BetweenWindows, WithinWindows
from h2aseg_nnunet.network.tamw import ChannelGains
from studies.trained_models import trained_models


class Focus(NamedTuple):
    """Means over queries: standard deviation of scores among the tokens that may be read, and the largest weight."""

    score_std: float
    largest_weight: float


class Gains(NamedTuple):
    """Means over channels: absolute gain, and its standard deviation from patch to patch."""

    magnitude: float
    std_over_patches: float


def main() -> None:
    models = trained_models("saturation", __doc__, batches=4)
    print("| model | module | scores, deviation | largest weight | added, ratio | gains, magnitude | over patches |")
    print("|---|---|---|---|---|---|---|")
    for model, trainer, batches in models:
        images = [batch["data"].to(trainer.device) for batch in batches]
        for name, (score_std, largest_weight) in measure_focus(trainer.network, images).items():
            print(f"| {model} | {name} | {score_std:.1f} | {largest_weight:.2f} | | | |")
        for name, ratio in measure_updates(trainer.network, images).items():
            print(f"| {model} | {name} | | | {ratio:.2f} | | |")
        for name, (magnitude, std_over_patches) in measure_gain_spread(trainer.network, images).items():
            print(f"| {model} | {name} | | | | {magnitude:.2f} | {std_over_patches:.3f} |")


@torch.no_grad()
def measure_focus(network: nn.Module, images: Iterable[Tensor]) -> dict[str, Focus]:
    """Focus of every attention by its name and what it reads: the stream itself or the other one."""
    found: dict[str, list[Focus]] = {}

    def measure(name: str, module: CrossModalAttention, tokens: dict, output: Tensor) -> None:
        projections = module.project(tokens["target"], tokens["source"], tokens["positions"])
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
    """Gains of tumour and background of every TAMW by the name of their module."""
    found: dict[str, list[Tensor]] = {}

    def measure(name: str, module: ChannelGains, tokens: dict, output: Tensor) -> None:
        found.setdefault(name, []).append(output)

    with _watched(network, ChannelGains, measure):
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
