"""From a model and reference masks to a report of what altered inputs cost. Read this first."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.petct.evaluate import run as evaluate
from h2aseg_nnunet.petct.files import replacing
from h2aseg_nnunet.petct.nnunet.cases import ImageFiles, find_cases, images_in
from h2aseg_nnunet.petct.robustness.conditions import Condition, make_conditions
from h2aseg_nnunet.petct.robustness.model import Settings, load_predictor, modality_channels
from h2aseg_nnunet.petct.robustness.predict import Prediction, predict

MARK = "settings.json"
"""By it a folder is known as ours; predictions in it were made with these settings."""

SHIFTS_VOXELS = (1.0, 2.0, 4.0)

Values = dict[str, dict[str, float]]
"""Of each case by name: AutoPET's metrics, undefined ones NaN."""


class Robustness(NamedTuple):
    """Everything that is written and drawn.

    Attributes:
        settings: Of the predictions.
        references: Folder of the masks.
        voxel_mm: Extent of a preprocessed voxel along the axis of the shifts.
        conditions: The first is the intact input.
        values: By name of the condition.
        left_out: Cases without a reference.
    """

    settings: Settings
    references: str
    voxel_mm: float
    conditions: list[Condition]
    values: dict[str, Values]
    left_out: list[str]


def measure_robustness(
    settings: Settings,
    references: str | Path,
    output: str | Path,
    shifts_voxels: Sequence[float] = SHIFTS_VOXELS,
    device: str = "auto",
    num_processes: int = 1,
    keep_finished: bool = False,
) -> Robustness:
    """Predict and evaluate every case that has a reference, under every condition.

    Args:
        settings: Of the predictions.
        references: Folder of case.nii.gz and so on.
        output: Folder; predictions go to predictions/CONDITION. An earlier report is replaced.
        shifts_voxels: Of the CT, in preprocessed voxels.
        device: cpu, cuda, mps, or auto: a CUDA GPU if there is one.
        num_processes: For resampling and writing of predictions, and for evaluation.
        keep_finished: Keep predictions that were made with the same settings, do what is missing.

    Raises:
        UserError: If something does not fit; the message says what.
        RuntimeError: If a process is killed.
    """
    if num_processes < 1:
        raise UserError(f"-np {num_processes}: 1 or more processes are expected.")
    output, references = Path(output), Path(references)
    conditions = make_conditions(shifts_voxels)
    _check_folder(output, settings, keep_finished)
    predictor = load_predictor(settings, device)
    modality_channels(predictor)  # complains before the long work
    cases, left_out = _choose_cases(predictor, Path(settings.images), references)
    _prepare_folder(output, settings, keep_finished)

    ending = predictor.dataset_json["file_ending"]
    folders = {condition.name: output / "predictions" / condition.name for condition in conditions}
    wanted = [
        Prediction(case, condition, folders[condition.name] / f"{case.name}{ending}")
        for case in cases
        for condition in conditions
    ]
    predict(predictor, [each for each in wanted if not _is_predicted(each.file, settings)], num_processes)
    return Robustness(
        settings=settings,
        references=str(references.resolve()),
        voxel_mm=float(predictor.configuration_manager.spacing[-1]),
        conditions=conditions,
        values={name: _evaluate(references, folder, num_processes) for name, folder in folders.items()},
        left_out=left_out,
    )


def _choose_cases(predictor: nnUNetPredictor, images: Path, references: Path) -> tuple[list[ImageFiles], list[str]]:
    """Cases with a reference, and names of those without."""
    if not images.is_dir():
        raise UserError(f"-i {images} is not a folder: a folder of case_0000, case_0001, ... is expected.")
    dataset = predictor.dataset_json
    cases = find_cases(images, len(dataset["channel_names"]), dataset["file_ending"])
    names = images_in(references).keys()
    absent = sorted(names - {case.name for case in cases})
    if absent:
        raise UserError(f"{images} lacks the images of {listing(absent)}, which have references in {references}.")
    return [case for case in cases if case.name in names], [case.name for case in cases if case.name not in names]


def _evaluate(references: Path, predictions: Path, num_processes: int) -> Values:
    settings = evaluate.Settings("autopet")
    return evaluate.evaluate_folders(references, predictions, settings, num_processes=num_processes).cases


def _is_predicted(file: Path, settings: Settings) -> bool:
    """Whether the prediction is there and of the present model: no fold has been trained anew since."""
    newest = max(checkpoint.stat().st_mtime for checkpoint in settings.checkpoints)
    return file.is_file() and file.stat().st_mtime >= newest


def _check_folder(output: Path, settings: Settings, keep_finished: bool) -> None:
    """Make sure, before anything is computed, that only an earlier report would be replaced or continued."""
    earlier = _read_settings(output)
    if earlier is None:
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise UserError(f"{output} exists and is no report of robustness: choose another folder with -o.")
    elif keep_finished and earlier != settings:
        pairs = zip(Settings._fields, earlier, settings, strict=True)
        changed = [f"{name} {before}, now {now}" for name, before, now in pairs if before != now]
        raise UserError(
            f"{output} holds predictions made with other settings ({'; '.join(changed)}): choose another folder with "
            "-o, or leave --c out to replace them."
        )


def _prepare_folder(output: Path, settings: Settings, keep_finished: bool) -> None:
    if not keep_finished and (output / "predictions").exists():
        shutil.rmtree(output / "predictions")
    with replacing(output / MARK) as temporary:
        temporary.write_text(json.dumps(settings._asdict(), indent=2) + "\n", encoding="utf-8")


def _read_settings(output: Path) -> Settings | None:
    try:
        return Settings(**json.loads((output / MARK).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
