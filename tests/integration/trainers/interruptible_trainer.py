"""A training that waits to be killed where the environment variable WAIT_AT says, and then touches the file WAITING."""

import io
import os
import random
import time
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from h2aseg_nnunet import nnUNetTrainerH2ASeg


class nnUNetTrainerH2ASegInterruptible(nnUNetTrainerH2ASeg):
    """Four epochs, seeded by their numbers: wherever it is resumed, it sees the patches it would have seen."""

    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = 4
        self.num_iterations_per_epoch = 2
        self.num_val_iterations_per_epoch = 1
        self.save_every = 1
        torch.set_num_threads(1)  # more of them add in another order

    def initialize(self):
        seed_all(0)
        super().initialize()

    def on_train_epoch_start(self):
        super().on_train_epoch_start()
        seed_all(self.current_epoch)

    def train_step(self, batch):
        step = super().train_step(batch)
        if os.environ.get("WAIT_AT") == f"epoch {self.current_epoch}":
            wait()  # after its first iteration
        return step

    def save_checkpoint(self, filename):
        if os.environ.get("WAIT_AT") == f"{Path(filename).name} of epoch {self.current_epoch}":
            with mock.patch.object(torch, "save", write_half):
                super().save_checkpoint(filename)
        super().save_checkpoint(filename)


def seed_all(seed):
    for function in (random.seed, np.random.seed, torch.manual_seed):
        function(seed)


def write_half(checkpoint, file, save=torch.save):
    buffer = io.BytesIO()
    save(checkpoint, buffer)
    Path(file).write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    wait()


def wait():
    Path(os.environ["WAITING"]).touch()
    time.sleep(3600)
