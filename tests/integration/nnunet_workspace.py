"""nnU-Net's folders and commands for tests, at the scale of tiny images.

Commands run in this process (`Workspace.run`), which saves six seconds of imports each; their workers are threads, for
the same reason. `Workspace.run_process` runs them as a user does.
"""

import importlib.metadata
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import matplotlib
import numpy as np
import torch
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
from nnunetv2.utilities import utils

from h2aseg_nnunet import register
from tests.integration.tiny_datasets import DATASET_IDS, Dataset, read_probabilities, write_raw_dataset

FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
GPU_MEMORY_GB = 0.002  # patches so small that the planner itself makes 3d_lowres and the cascade
SHORT = "nnUNetTrainerH2ASegShort"
STOCK_SHORT = "nnUNetTrainerStockShort"
UNTRAINED = "nnUNetTrainerH2ASegUntrained"


class Workspace:
    """nnU-Net's three folders and a folder with a user's own trainers, beside ours in `nnUNet_extTrainer`."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.trainers = folder / "trainers"  # a test may add modules of its own
        for name in FOLDERS:
            (folder / name).mkdir(parents=True)
        shutil.copytree(Path(__file__).parent / "trainers", self.trainers)
        self._prepared: set[str] = set()
        self._trained: set[tuple] = set()

    @property
    def variables(self) -> dict[str, str]:
        """What a user exports before running nnU-Net; the plugin adds itself to nnUNet_extTrainer."""
        return {name: str(self.folder / name) for name in FOLDERS} | {"nnUNet_extTrainer": str(self.trainers)}

    @contextmanager
    def environment(self, **variables: str) -> Iterator[None]:
        """For nnU-Net's Python API and the commands that `run` runs: its folders, trainers, and threads as workers."""
        with mock.patch.dict(os.environ, self.variables | variables), in_small():
            register()
            yield

    def run(self, command: str, *paths: Path | str, **variables: str) -> None:
        """Runs an nnU-Net command in this process: `run("nnUNetv2_train 901 2d 0 -device cpu")`.

        `paths` are appended as they are; `variables` are further environment variables. Raises what the command
        raises.
        """
        name, *options = command.split()
        (entry,) = importlib.metadata.entry_points(group="console_scripts", name=name)
        for seed in (random.seed, np.random.seed, torch.manual_seed):
            seed(0)
        if name == "nnUNetv2_train":
            variables.setdefault("nnUNet_n_proc_DA", "0")
        with self.environment(**variables), mock.patch.object(sys, "argv", [name, *options, *map(str, paths)]):
            entry.load()()

    def run_process(self, command: str, *paths: Path | str, **variables: str) -> subprocess.CompletedProcess:
        """Runs an nnU-Net command as a process of its own; returns it with its output, whatever its exit code."""
        name, *options = command.split()
        environment = {key: value for key, value in os.environ.items() if not key.startswith("nnUNet_")}
        environment |= self.variables | {"nnUNet_def_n_proc": "2", "nnUNet_n_proc_DA": "1"} | variables
        arguments = [Path(sysconfig.get_path("scripts")) / name, *options, *map(str, paths)]
        return subprocess.run(arguments, env=environment, cwd=self.folder, capture_output=True, text=True)

    def dataset(self, scheme: str) -> Dataset:
        """The dataset of a label scheme (a key of SCHEMES): planned, and preprocessed for all configurations."""
        dataset = self.locate(DATASET_IDS[scheme], scheme)
        if scheme not in self._prepared:
            write_raw_dataset(dataset)
            self.run(
                f"nnUNetv2_plan_and_preprocess -d {dataset.id} -npfp 1 -np 1 --verify_dataset_integrity --no_pbar "
                f"-gpu_memory_target {GPU_MEMORY_GB}"
            )
            self._prepared.add(scheme)
        return dataset

    def locate(self, dataset_id: int, scheme: str) -> Dataset:
        name = f"Dataset{dataset_id}_{scheme}"
        raw, preprocessed, results = (self.folder / folder / name for folder in FOLDERS)
        return Dataset(
            id=str(dataset_id), name=name, scheme=scheme, raw=raw, preprocessed=preprocessed, results=results
        )

    def trained(
        self,
        scheme: str,
        configuration: str = "3d_fullres",
        fold: int | str = 0,
        trainer: str = SHORT,
        plans: str = "nnUNetPlans",
        options: str = "--npz",
    ) -> Dataset:
        """The dataset of a label scheme, with a trained and validated fold; trained once per session."""
        dataset = self.dataset(scheme)
        key = (scheme, configuration, str(fold), trainer, plans)
        if key not in self._trained:
            self.run(
                f"nnUNetv2_train {dataset.id} {configuration} {fold} -tr {trainer} -p {plans} -device cpu {options}"
            )
            self._trained.add(key)
        return dataset

    def predict(
        self,
        dataset: Dataset,
        images: Path,
        output: Path,
        configuration: str = "3d_fullres",
        folds: str = "0",
        trainer: str = SHORT,
        plans: str = "nnUNetPlans",
        options: str = "",
    ) -> dict[str, np.ndarray]:
        """Runs nnUNetv2_predict with --save_probabilities; returns these, (classes, z, y, x) of each case."""
        self.run(
            f"nnUNetv2_predict -d {dataset.id} -c {configuration} -f {folds} -tr {trainer} -p {plans} -device cpu "
            f"-npp 1 -nps 1 --save_probabilities --disable_progress_bar {options}",
            *("-i", images, "-o", output),
        )
        return read_probabilities(output)

    def images(self, dataset: Dataset, cases: list[str], folder: Path) -> Path:
        """Copies the images of some cases into a folder, to predict them."""
        folder.mkdir(parents=True, exist_ok=True)
        for case in cases:
            for file in (dataset.raw / "imagesTr").glob(f"{case}_*"):
                shutil.copy(file, folder)
        return folder


@contextmanager
def one_thread() -> Iterator[None]:
    """Keeps torch to one thread, whatever number nnU-Net asks for: more of them make tiny tensors slow."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with mock.patch.object(torch, "set_num_threads", lambda number: None):
            yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def in_small() -> Iterator[None]:
    """Lets nnU-Net work in this process at the scale of tiny images; what it computes stays the same.

    Its worker processes become threads: each command would start several, six seconds each.
    """
    threads = SimpleNamespace(Pool=ThreadPool, Process=threading.Thread)
    get_context, collect = multiprocessing.get_context, DatasetFingerprintExtractor.collect_foreground_intensities

    def get(method: str | None = None):
        return threads if method == "spawn" else get_context(method)

    def collect_few(segmentation, images, num_samples):  # nnU-Net draws a hundred million voxels, with replacement
        return collect(segmentation, images, num_samples=10_000)

    with (
        mock.patch.object(multiprocessing, "get_context", get),
        mock.patch.object(utils, "Pool", ThreadPool),
        one_thread(),
        matplotlib.rc_context({"savefig.dpi": 10}),  # of progress.png, after every epoch
        mock.patch.object(DatasetFingerprintExtractor, "collect_foreground_intensities", staticmethod(collect_few)),
    ):
        yield
