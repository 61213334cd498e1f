"""Carries out one run in a process of its own: `python -m h2aseg_nnunet.petct.compare.train JSON`.

The process is started with the run's nnUNet_results (execute.py). What is set here and not by the trainer: seed,
schedule, order of batches. Training, validation and sliding window are nnU-Net's.
"""

import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from h2aseg_nnunet import __version__
from h2aseg_nnunet.petct.compare.costs import CostMeter
from h2aseg_nnunet.petct.compare.training_runs import Run, read_record, write_record
from h2aseg_nnunet.petct.evaluate import MetricSettings, evaluate_folders, table
from h2aseg_nnunet.petct.files import exclusively
from h2aseg_nnunet.petct.nnunet.checkpoints import write_whole_checkpoints
from h2aseg_nnunet.petct.nnunet.folders import preprocessed_root
from h2aseg_nnunet.petct.nnunet.models import choose_device
from h2aseg_nnunet.petct.nnunet.seeding import seed_all, seed_batches


def carry_out(run: Run) -> None:
    """Train, validate and evaluate, or go on where a killed process left off.

    Raises:
        UserError: If a run with other settings lies there, or the device is missing.
    """
    device = choose_device(run.device)
    record = read_record(run) or {"schedule": run.schedule}
    write_record(run, record)
    meter = CostMeter(device)
    trainer = make_trainer(run, device)
    meter.watch(trainer)
    if not (run.fold_folder / "checkpoint_final.pth").is_file():
        trainer.run_training()
    if meter.seconds or "costs" not in record:  # else of the process that trained
        record |= {"costs": meter.measured(trainer), "surroundings": surroundings(trainer)}
    write_record(run, record)
    trainer.perform_actual_validation()
    evaluate(run)


def make_trainer(run: Run, device: torch.device) -> nnUNetTrainer:
    """Make nnU-Net's trainer with the run's schedule and seed, from the run's latest checkpoint if there is one."""
    resumes = any(run.fold_folder.glob("checkpoint_*.pth"))
    trainer = get_trainer_from_args(
        run.dataset, run.configuration, run.fold, run.trainer, run.plans, continue_training=resumes, device=device
    )
    trainer.num_epochs = run.epochs
    trainer.num_iterations_per_epoch = run.iterations
    trainer.num_val_iterations_per_epoch = run.val_iterations
    trainer.save_every = min(trainer.save_every, max(1, run.epochs // 10))  # nnU-Net's 50 suits its 1000 epochs
    write_whole_checkpoints(trainer)
    seed_batches(trainer, run.seed)
    seed_all(run.seed)
    trainer.initialize()
    maybe_load_checkpoint(trainer, continue_training=resumes, validation_only=False)
    return trainer


def evaluate(run: Run) -> None:
    """Write the values of the validation cases: the mark of a finished run."""
    references = preprocessed_root() / run.dataset / "gt_segmentations"
    predictions = run.fold_folder / "validation"
    evaluation = evaluate_folders(
        references, predictions, MetricSettings("autopet"), missing="skip", num_processes=run.processes
    )
    table.write_json(evaluation, run.evaluation)


def surroundings(trainer: nnUNetTrainer) -> dict[str, Any]:
    """Return what times and memory depend on."""
    on_gpu = trainer.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(trainer.device) if on_gpu else f"{trainer.device.type} of {_processor()}",
        "threads": torch.get_num_threads(),
        "compiled": trainer._do_i_compile(),
        "versions": {name: version(name) for name in ("nnunetv2", "torch", "numpy")}
        | {"h2aseg_nnunet": __version__, "python": platform.python_version()},
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    this_run = Run.from_json(sys.argv[1])
    with exclusively(this_run.fold_folder / ".lock"):
        carry_out(this_run)
