"""The main job in one call: phantoms, nnU-Net's own commands with H2ASeg, held-out Dice beside a SUV threshold."""

import os
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from tqdm import tqdm

from h2aseg_nnunet.demo.baseline import best_suv_threshold
from h2aseg_nnunet.demo.phantom import FILE_ENDING, SPACING_MM, write_dataset
from h2aseg_nnunet.demo.picture import DrawnCase, draw_mips
from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.modalities import PET
from h2aseg_nnunet.petct.cases import images_in
from h2aseg_nnunet.petct.child import run_logged
from h2aseg_nnunet.petct.evaluate.metrics import dice
from h2aseg_nnunet.petct.files import OutputFolder, exclusively, read_json, write_json
from h2aseg_nnunet.petct.nnunet.models import choose_device
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
        folder: Folder for everything the demo writes.
        seed: Seed of the phantoms; the trainer has its own, always the same.
        device: cpu, cuda, or auto: a CUDA GPU if there is one.
        num_training: Number of cases for training, a fifth of which nnU-Net validates on.
        num_test: Number of held-out cases.

    Raises:
        UserError: If `folder` holds something else, or a demo with other settings, or if one of nnU-Net's commands
            fails; the message names its log.
    """
    layout = Layout(Path(folder).resolve())
    device = choose_device(device).type
    settings = {"seed": seed, "num_training": num_training, "num_test": num_test}
    OutputFolder(layout.folder, "demo.json", "a demo", keys=tuple(settings)).claim(settings)
    with exclusively(layout.folder / ".lock"):
        return _run_steps(layout, seed, device, num_training, num_test)


def _run_steps(layout: Layout, seed: int, device: str, num_training: int, num_test: int) -> DemoResult:
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
    """Return nnU-Net's own figure for H2ASeg, and that of the threshold that suits the training cases best."""
    training = [(pet_suv, lesions) for _, pet_suv, lesions in _cases(layout, "Tr")]
    threshold = best_suv_threshold(training, THRESHOLDS_SUV)
    summary = read_json(layout.predictions / "summary.json")
    drawn, threshold_dice = [], []
    for name, pet_suv, lesions in _cases(layout, "Ts"):
        prediction = _read_array(layout.predictions / (name + FILE_ENDING))
        drawn.append(DrawnCase(name, pet_suv, lesions, prediction, SPACING_MM))
        threshold_dice.append(dice(lesions, pet_suv >= threshold))
    draw_mips(drawn[:CASES_DRAWN], layout.picture)
    result = DemoResult(
        summary["foreground_mean"]["Dice"], float(np.mean(threshold_dice)), threshold, layout.picture, layout.folder
    )
    write_json(layout.results, result._asdict() | {"picture": str(result.picture), "folder": str(result.folder)})
    return result


def _run(layout: Layout, command: str, *paths: str | Path, count: str = "", total: int | None = None) -> None:
    """Run one of nnU-Net's commands: its output goes to a log, its last line and the time to the screen.

    Args:
        layout: The folder of the log and of nnU-Net's folders.
        command: Name and options of the command.
        paths: Further arguments, which may contain blanks.
        count: Text of the lines that a bar counts, if there is a total.
        total: Number of these lines in all, those of an interrupted run included.
    """
    name, *options = [*command.split(), *map(str, paths)]
    log = layout.folder / "logs" / f"{name}.log"
    before = log.read_text().count(count) if total and log.exists() else 0
    look = "    {l_bar}{bar:20}| {elapsed}<{remaining}" if total else "    {elapsed} {desc}"
    print(f"    {shlex.join([name, *options])}", flush=True)
    with tqdm(total=total, initial=before, bar_format=look, mininterval=1, miniters=0, file=sys.stdout) as bar:

        def show(line: str) -> None:
            bar.set_description_str(name if total else line.strip()[:60], refresh=False)
            bar.update(bool(count) and count in line)

        ended = run_logged([_executable(name), *options], log, _environment(layout), show)
    if ended.exit_code:
        raise UserError(f"{name} failed ({ended.reason}); its output is in {log}.")


def _executable(name: str) -> str:
    """Find a command of this Python's environment, which need not be activated; else on PATH (pip install --user)."""
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    executable = shutil.which(name, path=path)
    if executable is None:
        raise UserError(f"{name} is neither beside {sys.executable} nor on PATH: is nnunetv2 installed?")
    return executable


def _environment(layout: Layout) -> dict[str, str]:
    """Return an environment with nnU-Net's folders inside the demo's, and no more processes than there are cores."""
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


def _cases(layout: Layout, split: str) -> Iterator[tuple[str, NDArray, NDArray]]:
    """Yield name, PET and lesions of each case of a split, "Tr" or "Ts"."""
    for name, lesions in images_in(layout.raw / f"labels{split}").items():
        pet = layout.raw / f"images{split}" / f"{name}_{PET:04d}{FILE_ENDING}"
        yield name, _read_array(pet), _read_array(lesions)


def _read_array(file: Path) -> NDArray:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))
