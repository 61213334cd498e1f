"""The main job in one call: phantoms, nnU-Net's own commands with H2ASeg, held-out Dice beside a SUV threshold."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK
import torch
from tqdm import tqdm

from h2aseg_nnunet.demo.baseline import best_suv_threshold
from h2aseg_nnunet.demo.phantom import FILE_ENDING, write_dataset
from h2aseg_nnunet.demo.picture import Case, draw_mips
from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.modalities import PET
from h2aseg_nnunet.petct.evaluate.metrics import dice
from h2aseg_nnunet.petct.files import replacing
from h2aseg_nnunet.trainer.demo_trainer import DEMO_EPOCHS

DATASET_ID = 901
DATASET = f"Dataset{DATASET_ID}_H2ASegDemo"
CONFIGURATION = "3d_fullres"
TRAINER = "nnUNetTrainerH2ASegDemo"
GPU_MEMORY_TARGET_GB = 0.2  # makes nnU-Net plan patches small enough for a CPU
THRESHOLDS_SUV = tuple(np.arange(1.0, 12.1, 0.5))
CASES_DRAWN = 4


class DemoResult(NamedTuple):
    """Mean Dice over the held-out cases, and where the demo left its files."""

    h2aseg_dice: float
    threshold_dice: float
    threshold_suv: float
    picture: Path
    folder: Path


class Layout(NamedTuple):
    """The demo's folder: nnU-Net's three folders, predictions and results."""

    folder: Path

    @property
    def raw(self) -> Path:
        return self.folder / "nnUNet_raw" / DATASET

    @property
    def preprocessed(self) -> Path:
        return self.folder / "nnUNet_preprocessed" / DATASET

    @property
    def model(self) -> Path:
        return self.folder / "nnUNet_results" / DATASET / f"{TRAINER}__nnUNetPlans__{CONFIGURATION}"

    @property
    def predictions(self) -> Path:
        return self.folder / "predictions"

    @property
    def results(self) -> Path:
        return self.folder / "results.json"

    @property
    def picture(self) -> Path:
        return self.folder / "mip.png"


def run_demo(
    folder: str | Path, seed: int = 0, device: str = "auto", num_training: int = 15, num_test: int = 4
) -> DemoResult:
    """Run the demo in `folder`, or go on where an earlier run was interrupted.

    Args:
        folder: Holds everything the demo writes.
        seed: Of the phantoms; the trainer has its own, always the same.
        device: cpu, cuda, or auto: a CUDA GPU if there is one.
        num_training: Cases for training, a fifth of which nnU-Net validates on.
        num_test: Held-out cases.

    Raises:
        UserError: If `folder` holds something else, or a demo with other settings.
        RuntimeError: If one of nnU-Net's commands fails; the message names its log.
    """
    layout = Layout(Path(folder).resolve())
    device = device if device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    _claim(layout.folder, {"seed": seed, "num_training": num_training, "num_test": num_test})

    print("1/5 phantoms", flush=True)
    write_dataset(layout.raw, num_training, num_test, seed)
    print("2/5 plan and preprocess", flush=True)
    _once(layout, "plan_and_preprocess", lambda: _plan_and_preprocess(layout))
    print(f"3/5 train on {device}", flush=True)
    _once(layout, "train", lambda: _train(layout, device))
    print("4/5 predict held-out cases", flush=True)
    _once(layout, "predict", lambda: _predict(layout, device))
    print("5/5 evaluate", flush=True)
    _once(layout, "evaluate", lambda: _evaluate_folder(layout))
    return _compare_with_threshold(layout)


def _claim(folder: Path, settings: dict) -> None:
    """Mark the folder as this demo's, or make sure that it is: no other files are mixed up with ours."""
    mark = folder / "demo.json"
    if mark.exists():
        found = json.loads(mark.read_text())
        if found != settings:
            raise UserError(f"{folder} holds a demo with {found}, not {settings}: choose another folder.")
        return
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} exists and is not a demo's: choose a new or empty folder.")
    with replacing(mark) as temporary:
        temporary.write_text(json.dumps(settings))


def _once(layout: Layout, step: str, work: Callable[[], None]) -> None:
    """Do a step unless an earlier run finished it."""
    done = layout.folder / "logs" / f"{step}.done"
    if done.exists():
        print("    done before", flush=True)
        return
    done.parent.mkdir(exist_ok=True)
    work()
    done.touch()


def _plan_and_preprocess(layout: Layout) -> None:
    options = f"-d {DATASET_ID} -c {CONFIGURATION} -gpu_memory_target {GPU_MEMORY_TARGET_GB}"
    processes = f"-npfp {_processes()} -np {_processes()}"
    _run(layout, f"nnUNetv2_plan_and_preprocess {options} {processes} --verify_dataset_integrity")


def _train(layout: Layout, device: str) -> None:
    resume = "--c" if any((layout.model / "fold_0").glob("checkpoint_*.pth")) else ""
    command = f"nnUNetv2_train {DATASET_ID} {CONFIGURATION} 0 -tr {TRAINER} -device {device} {resume}"
    _run(layout, command, count="Epoch time", total=DEMO_EPOCHS)


def _predict(layout: Layout, device: str) -> None:
    options = f"-d {DATASET_ID} -c {CONFIGURATION} -f 0 -tr {TRAINER} -device {device} -npp 1 -nps 1"
    _run(layout, f"nnUNetv2_predict {options}", "-i", layout.raw / "imagesTs", "-o", layout.predictions)


def _evaluate_folder(layout: Layout) -> None:
    settings = ("-djfile", layout.predictions / "dataset.json", "-pfile", layout.predictions / "plans.json")
    _run(layout, "nnUNetv2_evaluate_folder -np 1", layout.raw / "labelsTs", layout.predictions, *settings)


def _compare_with_threshold(layout: Layout) -> DemoResult:
    """nnU-Net's own figure for H2ASeg, and the same cases by the threshold that suits the training cases best."""
    training = [_read(layout, "Tr", name) for name in _case_names(layout, "Tr")]
    threshold = best_suv_threshold(training, THRESHOLDS_SUV)
    summary = json.loads((layout.predictions / "summary.json").read_text())
    cases, threshold_dice = [], []
    for name in _case_names(layout, "Ts"):
        pet_suv, lesions = _read(layout, "Ts", name)
        prediction = SimpleITK.ReadImage(str(layout.predictions / (name + FILE_ENDING)))
        cases.append(
            Case(name, pet_suv, lesions, SimpleITK.GetArrayFromImage(prediction), prediction.GetSpacing()[::-1])
        )
        threshold_dice.append(dice(lesions, pet_suv >= threshold))
    draw_mips(cases[:CASES_DRAWN], layout.picture)
    result = DemoResult(
        summary["foreground_mean"]["Dice"], float(np.mean(threshold_dice)), threshold, layout.picture, layout.folder
    )
    with replacing(layout.results) as temporary:
        temporary.write_text(json.dumps(result._asdict(), default=str, indent=2))
    return result


def _run(layout: Layout, command: str, *paths: str | Path, count: str = "", total: int | None = None) -> None:
    """Run one of nnU-Net's commands: its output goes to a log, its last line and the time to the screen.

    Args:
        layout: Where the log is and nnU-Net's folders are.
        command: Name and options.
        paths: Further arguments, which may contain blanks.
        count: With `total`, a bar counts the lines that contain this.
        total: How many there are in all, those of an interrupted run included.
    """
    name, *options = [*command.split(), *map(str, paths)]
    log = layout.folder / "logs" / f"{name}.log"
    before = log.read_text().count(count) if total and log.exists() else 0
    look = "    {l_bar}{bar:20}| {elapsed}<{remaining}" if total else "    {elapsed} {desc}"
    print(f"    {shlex.join([name, *options])}", flush=True)
    with (
        log.open("a") as file,
        subprocess.Popen(
            [_executable(name), *options],
            env=_environment(layout),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
        tqdm(total=total, initial=before, bar_format=look, mininterval=1, miniters=0, file=sys.stdout) as bar,
    ):
        for line in process.stdout or ():
            file.write(line)
            bar.set_description_str(line.strip()[:60] if not total else name, refresh=False)
            bar.update(bool(count) and count in line)
    if process.returncode:
        raise UserError(f"{name} failed (exit code {process.returncode}); its output is in {log}.")


def _executable(name: str) -> str:
    """A command of this Python's environment, which need not be activated; else one on PATH (pip install --user)."""
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    executable = shutil.which(name, path=path)
    if executable is None:
        raise UserError(f"{name} is neither beside {sys.executable} nor on PATH: is nnunetv2 installed?")
    return executable


def _environment(layout: Layout) -> dict[str, str]:
    """nnU-Net's folders inside the demo's, and no more processes than there are cores."""
    return os.environ | {
        "nnUNet_raw": str(layout.raw.parent),
        "nnUNet_preprocessed": str(layout.preprocessed.parent),
        "nnUNet_results": str(layout.model.parents[1]),
        "nnUNet_def_n_proc": str(_processes()),
        "nnUNet_n_proc_DA": str(max(1, _processes() - 1)),
        "nnUNet_compile": "f",  # compiling takes longer than this training
        "PYTHONUNBUFFERED": "1",
    }


def _processes() -> int:
    return min(8, os.cpu_count() or 1)


def _case_names(layout: Layout, split: str) -> list[str]:
    labels = (layout.raw / f"labels{split}").glob(f"[!.]*{FILE_ENDING}")
    return sorted(file.name.removesuffix(FILE_ENDING) for file in labels)


def _read(layout: Layout, split: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """PET and lesions of one case."""
    pet = layout.raw / f"images{split}" / f"{name}_{PET:04d}{FILE_ENDING}"
    lesions = layout.raw / f"labels{split}" / f"{name}{FILE_ENDING}"
    return _read_array(pet), _read_array(lesions)


def _read_array(file: Path) -> np.ndarray:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))
