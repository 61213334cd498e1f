"""From a model and reference masks to what altered inputs cost. Read this first."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.petct.cases import DATASET_ENDINGS, ImageFiles, find_cases, images_in
from h2aseg_nnunet.petct.evaluate import MetricSettings, evaluate_folders
from h2aseg_nnunet.petct.files import OutputFolder, exclusively, write_json
from h2aseg_nnunet.petct.nnunet.on_workers import Model
from h2aseg_nnunet.petct.own_files import OwnFiles
from h2aseg_nnunet.petct.parallel import chosen_engine
from h2aseg_nnunet.petct.robustness.conditions import Condition, make_conditions
from h2aseg_nnunet.petct.robustness.on_workers import predict_on_workers
from h2aseg_nnunet.petct.robustness.predict import AlteredCase, PredictionSettings, load_single_stage, predict

MARK = "settings.json"
"""Settings of the predictions in a folder: by it the folder is known as ours."""

SHIFTS_VOXELS = (1.0, 2.0, 4.0)

OUTPUTS = (MARK, "robustness.json", "robustness.csv", "robustness.md", "robustness.png")

FOLDERS = ("intact", "*_missing", "CT_shifted_*")
PATTERNS = (*OUTPUTS, *(f"predictions/{name}/*{ending}" for name in FOLDERS for ending in DATASET_ENDINGS))
"""Files of a report by an earlier version, which kept no list of them."""

CaseValues = dict[str, dict[str, float]]
"""AutoPET's metrics of each case by its name; undefined ones are NaN."""


class Robustness(NamedTuple):
    """Everything that is written and drawn.

    Attributes:
        settings: Settings of the predictions.
        references: Folder of the masks.
        voxel_mm: Extent of a preprocessed voxel along the axis of the shifts.
        conditions: All conditions; the first is the intact input.
        values: Values of the cases, by name of the condition.
        left_out: Names of cases without a reference.
        failed: Names of cases that could not be predicted on a cluster, with the reason.
    """

    settings: PredictionSettings
    references: str
    voxel_mm: float
    conditions: list[Condition]
    values: dict[str, CaseValues]
    left_out: list[str]
    failed: dict[str, str]


def measure_robustness(
    settings: PredictionSettings,
    references: str | Path,
    output: str | Path,
    shifts_voxels: Sequence[float] = SHIFTS_VOXELS,
    device: str = "auto",
    num_processes: int = 1,
    keep_finished: bool = False,
) -> Robustness:
    """Predict and evaluate every case that has a reference, under every condition.

    Args:
        settings: Settings of the predictions.
        references: Folder of case.nii.gz and so on.
        output: Folder for everything; predictions go to predictions/CONDITION. An earlier report is replaced.
        shifts_voxels: Shifts of the CT, in preprocessed voxels.
        device: cpu, cuda, mps, or auto: a CUDA GPU if there is one.
        num_processes: Number of processes that resample and write predictions, and that evaluate.
        keep_finished: Whether to keep predictions that were made with the same settings and do what is missing.

    Raises:
        UserError: If something does not fit; the message says what.
    """
    if num_processes < 1:
        raise UserError(f"-np {num_processes}: 1 or more processes are expected.")
    output, references = Path(output), Path(references)
    conditions = make_conditions(shifts_voxels)
    folder = OutputFolder(output, MARK, "a report of robustness", keys=PredictionSettings._fields)
    earlier = folder.require_own()
    if keep_finished and earlier is not None:
        folder.require_settings(earlier, settings._asdict())
    predictor = load_single_stage(settings, "cpu" if chosen_engine() else device)
    cases, left_out = _choose_cases(predictor, Path(settings.images), references)
    with exclusively(output / ".lock"):
        folders, wanted = _prepare(folder, settings, predictor, cases, conditions, keep_finished)
        failed = _predict(wanted, settings, predictor, output, device, num_processes)
        values = {name: _evaluate(references, each, num_processes, failed) for name, each in folders.items()}
    return Robustness(
        settings=settings,
        references=str(references.resolve()),
        voxel_mm=float(predictor.configuration_manager.spacing[-1]),
        conditions=conditions,
        values=values,
        left_out=left_out,
        failed=failed,
    )


def _prepare(
    folder: OutputFolder,
    settings: PredictionSettings,
    predictor: nnUNetPredictor,
    cases: Sequence[ImageFiles],
    conditions: Sequence[Condition],
    keep_finished: bool,
) -> tuple[dict[str, Path], list[AlteredCase]]:
    """Make the folder of each condition's predictions; return them, and what is to be predicted."""
    ending = predictor.dataset_json["file_ending"]
    folders = {condition.name: folder.path / "predictions" / condition.name for condition in conditions}
    wanted = [
        AlteredCase(case, condition, folders[condition.name] / f"{case.name}{ending}")
        for case in cases
        for condition in conditions
    ]
    labels = [each / "dataset.json" for each in folders.values()]  # as nnU-Net does; evaluation reads labels there
    _claim(folder, [*labels, *(each.file for each in wanted)], keep_finished)
    write_json(folder.path / MARK, settings._asdict())
    for file in labels:
        write_json(file, predictor.dataset_json)
    return folders, [each for each in wanted if not _is_predicted(each.file, settings)]


def _predict(
    wanted: Sequence[AlteredCase],
    settings: PredictionSettings,
    predictor: nnUNetPredictor,
    output: Path,
    device: str,
    num_processes: int,
) -> dict[str, str]:
    """Predict here or on a cluster; return the cases that could not be, with the reason."""
    engine = chosen_engine()
    if engine is None:
        predict(predictor, wanted, num_processes)
        return {}
    how = settings.checkpoint, device, settings.step_size, settings.mirroring
    return predict_on_workers(engine, Model.of(settings.model, settings.folds, *how), wanted, output)


def _claim(folder: OutputFolder, predictions: Sequence[Path], keep_finished: bool) -> None:
    """Note what will be written, and remove earlier predictions unless they are kept, but nobody else's files."""
    own = OwnFiles(folder.path)
    if folder.settings() is not None and not own.exist:
        own.adopt(PATTERNS)
    outputs = [folder.path / name for name in OUTPUTS]
    own.claim([*outputs, *predictions])
    if not keep_finished:
        own.remove(keep=outputs)
        own.claim(predictions)


def _choose_cases(predictor: nnUNetPredictor, images: Path, references: Path) -> tuple[list[ImageFiles], list[str]]:
    """Return the cases with a reference, and the names of those without."""
    if not images.is_dir():
        raise UserError(f"-i {images} is not a folder: a folder of case_0000, case_0001, ... is expected.")
    dataset = predictor.dataset_json
    cases = find_cases(images, len(dataset["channel_names"]), dataset["file_ending"])
    names = images_in(references).keys()
    absent = sorted(names - {case.name for case in cases})
    if absent:
        raise UserError(f"{images} lacks the images of {listing(absent)}, which have references in {references}.")
    return [case for case in cases if case.name in names], [case.name for case in cases if case.name not in names]


def _evaluate(references: Path, predictions: Path, num_processes: int, failed: Collection[str]) -> CaseValues:
    how = MetricSettings("autopet"), None, "skip" if failed else "error", num_processes
    cases = evaluate_folders(references, predictions, *how).cases
    return {name: values for name, values in cases.items() if name not in failed}


def _is_predicted(file: Path, settings: PredictionSettings) -> bool:
    """Whether the prediction is there and of the present model: no fold has been trained anew since."""
    newest = max(checkpoint.stat().st_mtime for checkpoint in settings.checkpoints)
    return file.is_file() and file.stat().st_mtime >= newest
