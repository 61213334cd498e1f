"""Trained models of a command line, each with batches as in training, the same for all."""

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch


def trained_models(module: str, description: str, batches: int) -> Iterator[tuple[str, Any, list[dict]]]:
    """Name, trainer and batches of every fold folder that the command line of a benchmark names.

    Args:
        module: Of `benchmarks`, whose command line it is.
        description: The module's docstring, whose first line `--help` shows.
        batches: How many by default.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{module}", description=description.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLD_FOLDER", help="with checkpoint_final.pth")
    parser.add_argument("--batches", type=int, default=batches, help="default: %(default)s")
    parser.add_argument("-device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    options = parser.parse_args()
    return _load_all(options.folders, torch.device(options.device), options.batches)


def _load_all(folders: list[Path], device: torch.device, batches: int) -> Iterator[tuple[str, Any, list[dict]]]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["nnUNet_results"] = folder  # noqa: SIM112, nnU-Net's own name; a trainer writes its log at once
        for fold in folders:
            trainer = load(fold / "checkpoint_final.pth", device)
            training, _ = trainer.get_dataloaders()
            yield fold.parent.name, trainer, [next(training) for _ in range(batches)]


def load(checkpoint_file: Path, device: torch.device) -> Any:
    """The trainer with its final weights; its loaders make the same batches whatever was trained, however long."""
    # nnU-Net reads nnUNet_results when it is imported
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    from h2aseg_nnunet.petct.nnunet.seeding import seed_batches

    checkpoint = torch.load(checkpoint_file, map_location="cpu", weights_only=False)
    arguments = checkpoint["init_args"] | {"device": device}
    arguments["plans"]["continue_training"] = False  # nnUNetv2_train adds it, the trainer takes it out
    trainer = recursive_find_trainer_class_by_name(checkpoint["trainer_name"])(**arguments)
    trainer.initialize()
    trainer.load_checkpoint(str(checkpoint_file))
    trainer.current_epoch = 0  # whose batches are drawn
    seed_batches(trainer, seed=0)
    return trainer
