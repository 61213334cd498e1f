"""The part that needs a GPU: nnU-Net's own trainers on its default plan, sliding windows, and planned memory.

`python -m benchmarks.gpu -o gpu.json` writes every result as soon as it is there; gpu_check.sh calls it.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn

from benchmarks.measure import summarize, time_side_by_side
from h2aseg_nnunet.petct.files import write_json
from h2aseg_nnunet.planning.planner import GB, H2ASegPlanner
from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg, nnUNetTrainerH2ASeg_L

DATASET_ID = 999
DATASET = f"Dataset{DATASET_ID}_Benchmark"
RESENC_M = "ResEnc M"
TRAINERS = {trainer.__name__: trainer for trainer in (nnUNetTrainer, nnUNetTrainerH2ASeg, nnUNetTrainerH2ASeg_L)}
TRAINERS[RESENC_M] = nnUNetTrainer
PARTS = ("steps", "predictions", "planned")
VOLUME = (326, 400, 400)
SPACING_MM = (3.0, 2.036, 2.036)  # of AutoPET
TARGETS_GB = (8, 11, 16, 24)
WARM_UP = 5


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("-o", dest="output", type=Path, default=Path("gpu.json"), help="results (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to measure (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of every timing (default: %(default)s)")
    parser.add_argument(
        "--quick", action="store_true", help="a small plan on a CPU, to try the script: figures mean nothing"
    )
    options = parser.parse_args()
    results = json.loads(options.output.read_text()) if options.output.exists() else {}

    def keep(place: Sequence[str], value: dict) -> None:
        *path, last = place
        inner = results
        for key in path:
            inner = inner.setdefault(key, {})
        inner[last] = inner.get(last, {}) | value
        write_json(options.output, results)
        print(" / ".join(place), json.dumps(value), flush=True)

    device = "cpu" if options.quick else "cuda"
    measure_gpu(options.rounds, options.quick, device, options.only, keep)


def measure_gpu(
    rounds: int,
    quick: bool,
    device: str = "cuda",
    parts: Sequence[str] = PARTS,
    keep: Callable[[Sequence[str], dict], None] = lambda place, value: None,
) -> dict:
    """Training step, memory and inference of stock and H2ASeg trainers; then plans against their targets.

    On a CPU, with `quick`, it runs the same code on a small plan, to try it: the figures mean nothing.

    Args:
        rounds: Rounds of every timing.
        quick: Whether to run on a small plan.
        device: "cuda" or "cpu".
        parts: Which of PARTS to measure.
        keep: Called with the place of each result among all, and the result, as soon as it is there.
    """
    results: dict = {"device": torch.cuda.get_device_name() if device == "cuda" else "cpu"}

    def found(place: Sequence[str], value: dict) -> None:
        inner = results
        for key in place[:-1]:
            inner = inner.setdefault(key, {})
        inner[place[-1]] = inner.get(place[-1], {}) | value
        keep(place, value)

    keep(["environment"], {"device": results["device"], "torch": torch.__version__})
    volume = (48, 40, 40) if quick else VOLUME
    with workspace(volume) as make_plans:
        default = make_plans(ExperimentPlanner, 0.1 if quick else 8)
        if not quick:
            use_default_plan(default)
        for compiled in (True, False) if "steps" in parts else ():
            compare_steps(default, compiled, rounds, device, found)
        if "predictions" in parts:
            compare_predictions(default, volume, rounds, device, found)
        for gb in ((0.2,) if quick else TARGETS_GB) if "planned" in parts else ():
            plan = make_plans(H2ASegPlanner, gb)
            if fits(plan, device):
                found(["planned", f"{gb} GB"], planned_memory(plan, device))
    return results


@contextmanager
def workspace(volume: Sequence[int]) -> Iterator:
    """nnU-Net's folders with a dataset of such volumes and no images; yields a function that plans for it."""
    with tempfile.TemporaryDirectory() as folder:
        folders = {name: str(Path(folder, name)) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
        raw, preprocessed = Path(folders["nnUNet_raw"], DATASET), Path(folders["nnUNet_preprocessed"], DATASET)
        for file in ("imagesTr/case_0000.nii.gz", "imagesTr/case_0001.nii.gz", "labelsTr/case.nii.gz"):
            (raw / file).parent.mkdir(parents=True, exist_ok=True)
            (raw / file).touch()
        preprocessed.mkdir(parents=True)
        (raw / "dataset.json").write_text(json.dumps(DATASET_JSON))
        fingerprint = {
            "spacings": [SPACING_MM],
            "shapes_after_crop": [volume],
            "foreground_intensity_properties_per_channel": {},
            "median_relative_size_after_cropping": 1.0,
        }
        (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))

        def make_plans(planner: type[ExperimentPlanner], gpu_memory_gb: float) -> dict:
            planner = planner(DATASET_ID, gpu_memory_gb, plans_name=f"{planner.__name__}_{gpu_memory_gb:g}")
            planner.plan_experiment()
            file = preprocessed / f"{planner.plans_identifier}.json"
            plans = json.loads(file.read_text())
            data = preprocessed / plans["configurations"]["3d_fullres"]["data_identifier"]
            data.mkdir(exist_ok=True)
            (data / "case.b2nd").touch()  # tells nnU-Net which storage the dataset has
            return plans

        with patch.dict(os.environ, folders):
            yield make_plans


DATASET_JSON = {
    "channel_names": {"0": "CT", "1": "PET"},
    "labels": {"background": 0, "tumor": 1},
    "numTraining": 500,
    "file_ending": ".nii.gz",
    "overwrite_image_reader_writer": "SimpleITKIO",  # else nnU-Net tries to read an image
}


def use_default_plan(plans: dict) -> None:
    """Patch 128 x 128 x 128, batch 2, features 32 to 320: what nnU-Net plans for large isotropic images and 8 GB."""
    configuration = plans["configurations"]["3d_fullres"]
    configuration |= {"patch_size": [128, 128, 128], "batch_size": 2}
    configuration["architecture"]["arch_kwargs"] |= {
        "n_stages": 6,
        "features_per_stage": [32, 64, 128, 256, 320, 320],
        "kernel_sizes": [[3, 3, 3]] * 6,
        "strides": [[1, 1, 1]] + [[2, 2, 2]] * 5,
        "n_conv_per_stage": [2] * 6,
        "n_conv_per_stage_decoder": [2] * 5,
    }


def use_resenc_m(plans: dict) -> dict:
    """The same plan with nnU-Net's residual-encoder U-Net."""
    plans = json.loads(json.dumps(plans))
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    architecture["network_class_name"] = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
    arguments = architecture["arch_kwargs"]
    del arguments["n_conv_per_stage"]
    arguments["n_blocks_per_stage"] = [1, 3, 4, 6, 6, 6, 6, 6][: arguments["n_stages"]]
    arguments["n_conv_per_stage_decoder"] = [1] * (arguments["n_stages"] - 1)
    return plans


def compare_steps(
    plans: dict, compiled: bool, rounds: int, device: str, found: Callable[[Sequence[str], dict], None]
) -> None:
    """Seconds until the first step is done, peak memory of each trainer alone, and seconds of a step in turn."""
    place, steps = f"compile {'on' if compiled else 'off'}", {}
    torch.compiler.reset()
    for name in TRAINERS:
        before = memory_allocated(device)
        trainer = make_trainer(name, plans, compiled, device)
        batch = make_batch(trainer)
        start = time.perf_counter()
        trainer.train_step(batch)  # returns when the loss is on the CPU
        found([place, name], {"first_step_s": time.perf_counter() - start})
        found([place, name], {"peak_bytes": peak_of_steps(trainer, batch, device) - before})
        steps[name] = partial(trainer.train_step, batch)
    for name, seconds in time_side_by_side(steps, rounds).items():
        found([place, name], {"step_s": summarize(seconds)})


def compare_predictions(
    plans: dict, volume: Sequence[int], rounds: int, device: str, found: Callable[[Sequence[str], dict], None]
) -> None:
    """Seconds of a sliding-window prediction in turn, not compiled, as nnUNetv2_predict runs it."""
    trainers = {name: make_trainer(name, plans, compiled=False, device=device) for name in TRAINERS}
    runs = {name: partial(predict, trainer, volume) for name, trainer in trainers.items()}
    for name, seconds in time_side_by_side(runs, rounds).items():
        found(["compile off", name], {"sliding_window_s": summarize(seconds)})


def planned_memory(plans: dict, device: str) -> dict:
    """What the planner promised for 3d_fullres, and what five steps without torch.compile really take."""
    configuration = plans["configurations"]["3d_fullres"]
    before = memory_allocated(device)
    trainer = make_trainer(nnUNetTrainerH2ASeg.__name__, plans, compiled=False, device=device)
    peak = peak_of_steps(trainer, make_batch(trainer), device) - before
    return {
        "patch_size": configuration["patch_size"],
        "batch_size": configuration["batch_size"],
        "estimated_bytes": configuration["estimated_gpu_memory_gb"] * GB,
        "peak_allocated_bytes": peak,
        "peak_reserved_bytes": torch.cuda.max_memory_reserved() if device == "cuda" else 0,
    }


def fits(plans: dict, device: str) -> bool:
    estimated = plans["configurations"]["3d_fullres"]["estimated_gpu_memory_gb"] * GB
    return device != "cuda" or estimated < torch.cuda.mem_get_info()[1]


def make_trainer(name: str, plans: dict, compiled: bool, device: str) -> nnUNetTrainer:
    plans = use_resenc_m(plans) if name == RESENC_M else plans
    settings = json.loads(json.dumps(plans)) | {"continue_training": False}
    with patch.dict(os.environ, {"nnUNet_compile": "t" if compiled else "f"}):
        trainer = TRAINERS[name](settings, "3d_fullres", 0, DATASET_JSON, device=torch.device(device))
        trainer.initialize()
    trainer.network.train()
    return trainer


def make_batch(trainer: nnUNetTrainer) -> dict:
    """Noise on the device, so that no step waits for data; targets at every resolution that the loss compares."""
    size, batch_size = trainer.configuration_manager.patch_size, trainer.configuration_manager.batch_size
    sizes = [
        [round(n * s) for n, s in zip(size, scale, strict=True)] for scale in trainer._get_deep_supervision_scales()
    ]
    return {
        "data": torch.randn(batch_size, 2, *size, device=trainer.device),
        "target": [torch.randint(2, (batch_size, 1, *s), device=trainer.device).float() for s in sizes],
    }


def peak_of_steps(trainer: nnUNetTrainer, batch: dict, device: str) -> int:
    """Peak bytes of training steps, once compiling and cuDNN's search for algorithms are over."""
    for _ in range(WARM_UP if device == "cuda" else 1):
        trainer.train_step(batch)
    if device != "cuda":
        return 0
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    for _ in range(WARM_UP):
        trainer.train_step(batch)
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated()


def memory_allocated(device: str) -> int:
    return torch.cuda.memory_allocated() if device == "cuda" else 0


def predict(trainer: nnUNetTrainer, volume: Sequence[int]) -> None:
    """Sliding windows over noise as nnUNetv2_predict does, without mirroring, which multiplies all alike."""
    predictor = nnUNetPredictor(use_mirroring=False, device=trainer.device, allow_tqdm=False)
    trainer.set_deep_supervision_enabled(False)
    network: nn.Module = trainer.network.eval()
    settings = (trainer.plans_manager, trainer.configuration_manager, None, trainer.dataset_json, "", None)
    predictor.manual_initialization(network, *settings)
    predictor.predict_sliding_window_return_logits(torch.randn(2, *volume))


if __name__ == "__main__":
    main()
