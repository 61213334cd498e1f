"""Checkpoints of nnU-Net, written whole or not at all."""

from collections.abc import Callable
from pathlib import Path

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from h2aseg_nnunet.petct.files import replacing


def save_whole(trainer: nnUNetTrainer, save: Callable[[str], None], file: str) -> None:
    """Save a checkpoint so that a process killed while it writes leaves the previous file whole.

    Args:
        trainer: nnU-Net's trainer, which may not write at all: other ranks, or `disable_checkpointing`.
        save: The trainer's own `save_checkpoint`.
        file: The checkpoint.
    """
    if trainer.local_rank != 0 or trainer.disable_checkpointing:
        save(file)  # writes nothing
        return
    with replacing(Path(file)) as partial:
        save(str(partial))


def write_whole_checkpoints(trainer: nnUNetTrainer) -> None:
    """Make any trainer of nnU-Net save its checkpoints by `save_whole`."""
    save = trainer.save_checkpoint
    trainer.save_checkpoint = lambda filename: save_whole(trainer, save, filename)
