"""What training costs: parameters, seconds of an iteration, peak memory."""

import statistics
import time
from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class CostMeter:
    """Watches what a trainer costs; to be made before the trainer's network, in a process that trains nothing else.

    On a GPU, memory is torch's peak of allocated memory; on a CPU, how much the process has grown at most since the
    meter was made (Linux only). Workers that load data are not part of it.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds: list[float] = []
        self.resident_before = resident_bytes("VmRSS")

    def watch(self, trainer: nnUNetTrainer) -> None:
        """Time every training step from now on: its forward and backward pass and its update, not the waiting for data.

        A step ends by fetching its loss, so that a GPU has finished it.
        """
        step = trainer.train_step

        def train_step(batch: dict) -> dict:
            start = time.perf_counter()
            outcome = step(batch)
            self.seconds.append(time.perf_counter() - start)
            return outcome

        trainer.train_step = train_step

    def measured(self, trainer: nnUNetTrainer) -> dict[str, Any]:
        """Return the costs so far; the median leaves out the first steps, which compile and tune."""
        configuration = trainer.configuration_manager
        return {
            "parameters": sum(parameter.numel() for parameter in trainer.network.parameters()),
            "seconds_per_iteration": statistics.median(self.seconds) if self.seconds else None,
            "iterations_timed": len(self.seconds),
            "peak_memory_bytes": self._peak_memory_bytes(),
            "patch_size": list(map(int, configuration.patch_size)),
            "batch_size": int(configuration.batch_size),
        }

    def _peak_memory_bytes(self) -> int | None:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        peak = resident_bytes("VmHWM")
        return None if self.device.type != "cpu" or peak is None else peak - (self.resident_before or 0)


def resident_bytes(entry: str) -> int | None:
    """Return the resident memory of this process, from Linux: VmRSS is the present one, VmHWM the largest so far.

    Not getrusage: a new process inherits the peak of the one that started it.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    (line,) = (line for line in status.read_text().splitlines() if line.startswith(entry))
    return int(line.split()[1]) * 1024
