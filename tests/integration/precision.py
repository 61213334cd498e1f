"""Trainers that train on a CPU in a given precision: nnU-Net's autocast and its gradient scaler are CUDA's alone.

And the marks of tests that need a card.
"""

from contextlib import AbstractContextManager

import pytest
import torch

from h2aseg_nnunet import nnUNetTrainerH2ASeg

ON_CUDA = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    # inductor says once, from inside the compiler, that the card knows TF32: as an error this ends the compilation
    pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores:UserWarning"),
]
"""Marks of tests that train as nnU-Net does on a GPU, compiled."""


class FullPrecision(nnUNetTrainerH2ASeg):
    dtype = torch.float32

    def autocast(self) -> AbstractContextManager:
        return torch.autocast("cpu", self.dtype, enabled=self.dtype != torch.float32)

    def train_step(self, batch):
        with self.autocast():
            return super().train_step(batch)

    def validation_step(self, batch):
        with self.autocast():
            return super().validation_step(batch)


class BFloat16(FullPrecision):
    dtype = torch.bfloat16


class Float16(FullPrecision):
    dtype = torch.float16

    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.grad_scaler = torch.GradScaler("cpu")
