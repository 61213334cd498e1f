"""How time and memory grow with the patch and with the batch, and the power law that fits best."""

from collections.abc import Callable, Sequence
from functools import partial
from math import log, prod

import numpy as np
import torch
from torch import nn

from benchmarks.measure import count_flop, count_saved, forward, summarize, time_side_by_side, training_step
from benchmarks.networks import DEFAULT_NARROW, h2aseg, plain
from h2aseg_nnunet.planning.memory import training_step_bytes

Build = Callable[[], nn.Module]
PATCHES = ((64, 64, 32), (96, 96, 48), (128, 128, 64), (160, 160, 80))
PATCHES_COUNTED = (*PATCHES, (192, 192, 96), (256, 256, 128))
BATCHES = (1, 2, 3, 4)
BATCH_PATCH = (96, 96, 48)
QUICK_PATCHES = ((32, 32, 32), (64, 64, 32))


def builders(patch: Sequence[int]) -> dict[str, Build]:
    """H2ASeg places its attention by the patch it is planned for; the U-Net is the same for every patch."""
    return {
        "H2ASeg": partial(h2aseg, patch_size=patch, deep_supervision=True),
        "plain-16": partial(plain, DEFAULT_NARROW, deep_supervision=True),
    }


def growth_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The k of cost = a size^k with the least squared error of the logarithms."""
    return float(np.polyfit([log(s) for s in sizes], [log(c) for c in costs], 1)[0])


def measure_scaling(rounds: int, quick: bool) -> dict:
    patches, counted = (QUICK_PATCHES, QUICK_PATCHES) if quick else (PATCHES, PATCHES_COUNTED)
    batch_patch, batches = (QUICK_PATCHES[0], BATCHES[:2]) if quick else (BATCH_PATCH, BATCHES)
    return {
        "patch": _series([(1, patch) for patch in counted], [(1, patch) for patch in patches], rounds),
        "batch": _series([(b, batch_patch) for b in batches], [(b, batch_patch) for b in batches], rounds),
    }


def _series(counted: Sequence[tuple], timed: Sequence[tuple], rounds: int) -> dict:
    """Costs of every network at (batch, patch), and their growth with the voxels of the batch."""
    result: dict[str, dict] = {}
    for batch, patch in counted:
        for name, build in builders(patch).items():
            shape = (batch, 2, *patch)
            point = {
                "batch": batch,
                "patch": list(patch),
                "voxels": batch * prod(patch),
                "saved_bytes": sum(count_saved(build, shape).values()),
                "peak_bytes": training_step_bytes(build, 2, patch, batch, torch.float32),
                "flop": count_flop(build, shape)["(network)"],
            }
            if (batch, patch) in timed:
                point |= _times(build, shape, rounds)
            result.setdefault(name, {"points": [], "growth": {}})["points"].append(point)
    for series in result.values():
        for cost in ("saved_bytes", "peak_bytes", "flop", "forward_s", "step_s"):
            points = [point for point in series["points"] if cost in point]
            sizes = [point["voxels"] for point in points]
            series["growth"][cost] = growth_exponent(sizes, [point[cost] for point in points])
    return result


def _times(build: Build, shape: tuple[int, ...], rounds: int) -> dict[str, float]:
    network, x = build(), torch.randn(shape)
    runs = {
        "forward_s": lambda: forward(network.eval(), x),
        "step_s": lambda: training_step(network.train(), x),
    }
    return {name: summarize(seconds)["median"] for name, seconds in time_side_by_side(runs, rounds).items()}
