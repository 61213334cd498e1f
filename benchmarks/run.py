"""Measure every row of docs/performance.md side by side: `python -m benchmarks.run`.

Each part is written as soon as it is done, into the file that holds the others: parts can be measured one by one.
"""

import argparse
import json
import os
import platform
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from benchmarks.floor import machine_ceilings, measure_floor
from benchmarks.gpu import measure_gpu
from benchmarks.measure import (
    BuildNetwork,
    count_flop,
    count_parameters,
    count_saved,
    count_step_flop,
    forward,
    peak_rss_bytes,
    summarize,
    time_side_by_side,
    training_step,
)
from benchmarks.networks import NETWORKS, PATCH, h2aseg
from benchmarks.scaling import measure_scaling
from benchmarks.table import tables
from benchmarks.traffic import PLANS, count_trainers
from h2aseg_nnunet.petct.files import replacing
from h2aseg_nnunet.planning.memory import training_step_bytes
from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg, nnUNetTrainerH2ASeg_L

TRAFFIC_TRAINERS = (nnUNetTrainer, nnUNetTrainerH2ASeg, nnUNetTrainerH2ASeg_L)
QUICK_PATCH = (64, 64, 32)
MODULE_DEPTH = 3  # encoder.stages.0


def main() -> None:
    options = _options()
    if options.threads:
        torch.set_num_threads(options.threads)
    parts = parts_of(QUICK_PATCH if options.quick else PATCH, options.rounds, options.quick)
    for name in options.only or parts:
        if name == "gpu" and not torch.cuda.is_available():
            print("gpu: no CUDA device here, so this part is not measured.")
            continue
        print(f"{name} ...", flush=True)
        result = {"environment": environment(options.quick), **parts[name]()}
        measured = json.loads(options.output.read_text()) if options.output.exists() else {}
        with replacing(options.output) as temporary:
            temporary.write_text(json.dumps(measured | {name: result}, indent=1) + "\n")
    print(tables(json.loads(options.output.read_text())))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__.splitlines()[0])
    parser.add_argument(
        "-o", dest="output", type=Path, default=Path("benchmark.json"), help="results, JSON (default: %(default)s)"
    )
    parser.add_argument("--only", nargs="+", choices=parts_of(PATCH, 1, True), help="parts to measure (default: all)")
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds of a timing; medians count (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: PyTorch's)")
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the benchmark itself")
    return parser.parse_args()


def parts_of(patch: tuple[int, ...], rounds: int, quick: bool) -> dict[str, Callable[[], dict]]:
    shape = (1, 2, *patch)
    trained = {
        name: partial(build, deep_supervision=True, **planned_for(name, patch)) for name, build in NETWORKS.items()
    }
    applied = {name: partial(NETWORKS[name], **planned_for(name, patch)) for name in trained if "dropout" not in name}
    return {
        "parameters": lambda: {name: count_parameters(build) for name, build in trained.items()},
        "saved": lambda: {name: by_module(count_saved(build, shape)) for name, build in trained.items()},
        "flop": lambda: {
            name: {**flop_by_module(build, shape), "step": count_step_flop(trained[name], shape)}
            for name, build in applied.items()
        },
        "peak": lambda: {
            name: {
                "tensors": training_step_bytes(build, 2, patch, 1, torch.float32),
                "resident": peak_rss_bytes(build, shape),
            }
            for name, build in trained.items()
        },
        "forward": lambda: time_networks(applied, shape, rounds, train=False),
        "step": lambda: time_networks(trained, shape, rounds, train=True),
        "floor": lambda: floor_of(partial(h2aseg, patch_size=patch, deep_supervision=True), shape),
        "scaling": lambda: measure_scaling(rounds, quick),
        "traffic": lambda: {
            plan: count_trainers(plan, TRAFFIC_TRAINERS) for plan in (list(PLANS)[:1] if quick else PLANS)
        },
        "gpu": lambda: measure_gpu(rounds, quick=False),
    }


def planned_for(name: str, patch: tuple[int, ...]) -> dict:
    """H2ASeg places its attention by the patch."""
    return {"patch_size": patch} if name.startswith("H2ASeg") else {}


def by_module(saved: Counter[str]) -> dict[str, int]:
    """Summed up to MODULE_DEPTH, largest first."""
    groups: Counter[str] = Counter()
    for module, size in saved.items():
        groups[".".join(module.split(".")[:MODULE_DEPTH])] += size
    return {"total": sum(saved.values()), **dict(groups.most_common())}


def flop_by_module(build: BuildNetwork, shape: tuple[int, ...]) -> dict[str, int]:
    flop = count_flop(build, shape)
    modules = {name: value for name, value in flop.items() if name.count(".") == MODULE_DEPTH - 1}
    return {"forward": flop["(network)"], **dict(Counter(modules).most_common())}


def time_networks(builders: dict[str, BuildNetwork], shape: tuple[int, ...], rounds: int, train: bool) -> dict:
    x = torch.randn(shape)
    run = training_step if train else forward
    networks = {name: build().train(train) for name, build in builders.items()}
    seconds = time_side_by_side({name: partial(run, network, x) for name, network in networks.items()}, rounds)
    return {name: summarize(values) for name, values in seconds.items()}


def floor_of(build: BuildNetwork, shape: tuple[int, ...]) -> dict:
    network, x, ceilings = build(), torch.randn(shape), machine_ceilings()
    return {
        "ceilings": ceilings,
        "forward": measure_floor(network, lambda: forward(network.eval(), x), ceilings),
        "step": measure_floor(network, lambda: training_step(network.train(), x), ceilings),
    }


def environment(quick: bool) -> dict:
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],  # of others: timings count on a quiet machine only
        "torch": torch.__version__,
        "quick": quick,
    }


def processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
