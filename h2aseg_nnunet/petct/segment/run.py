"""Segment a cohort: prepare in other processes, predict here, write in other processes; finished cases stay."""

import json
import re
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from tqdm import tqdm

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.cases import ImageFiles
from h2aseg_nnunet.petct.check.case import check_case
from h2aseg_nnunet.petct.check.files import Case
from h2aseg_nnunet.petct.cluster.slurm import FOLDER
from h2aseg_nnunet.petct.dicom.inputs import Input, find_inputs
from h2aseg_nnunet.petct.dicom.prepare import How, Prepared, prepare_images
from h2aseg_nnunet.petct.execute import Execute
from h2aseg_nnunet.petct.files import PARTIAL, OutputFolder, exclusively
from h2aseg_nnunet.petct.nnunet.dataset_json import Dataset, read_dataset
from h2aseg_nnunet.petct.nnunet.exported import grid_of_training, model_folder, name_of
from h2aseg_nnunet.petct.nnunet.exports import Logits, preprocess
from h2aseg_nnunet.petct.nnunet.models import find_folds, load_predictor
from h2aseg_nnunet.petct.nnunet.on_workers import Model
from h2aseg_nnunet.petct.own_files import OwnFiles
from h2aseg_nnunet.petct.parallel import chosen_engine, in_parallel
from h2aseg_nnunet.petct.postprocess.rules import NO_RULE
from h2aseg_nnunet.petct.postprocess.rules_file import RulesFile, require_model
from h2aseg_nnunet.petct.segment.finish import Outcome, Outputs, Predicted, attempt, finish, finished
from h2aseg_nnunet.petct.segment.jobs import segment_in_jobs
from h2aseg_nnunet.petct.segment.on_workers import segment_on_workers
from h2aseg_nnunet.petct.segment.summary import unreadable_folders, write_report, write_summary

MARK = "segment.json"
NEVER_FORCED = ("unreadable", "position", "grid", "missing-file", "not-finite", "constant")
"""Errors of `h2aseg check` that --force does not pass over: nothing sensible can come of such a case."""

BY_ANOTHER_WRITER = re.compile(r"[.-][0-9a-f]{16}[.-]")
"""In the names of what workers of a cluster and jobs are writing."""

SECONDS_TO_WRITE = 3600.0
"""No case takes so long to be written."""


class Settings(NamedTuple):
    """How to segment.

    Attributes:
        folds: Folds to average; empty for all that are trained.
        checkpoint: Name of the checkpoint's file.
        step_size: Step of the sliding window, as a share of the patch.
        mirroring: Whether to use nnU-Net's test-time augmentation.
        device: auto, cpu, cuda or mps.
        grid: "pet", "ct", or a number of mm; empty for the grid of the model's training.
        output_types: Out of `OUTPUT_TYPES` of the package.
        preview: Whether to draw a picture of every case.
        statistics: Whether to write lesions and totals of every case as JSON.
        report: Whether to make `h2aseg report`'s pages.
        force: Whether to segment cases although `h2aseg check` finds errors in them.
        ct_series, pet_series: UIDs that override the choice of series in the study that has them.
        weights: Table of what headers lack.
        max_suv: SUV drawn black in pictures.
        processes: Number of processes beside the network's; 1 for everything in one, case by case.
        cases_per_job: Number of cases in a job of Slurm.
        rules: Rule that was fitted to the model by `h2aseg tune`; None for none.
    """

    folds: tuple[str, ...] = ()
    checkpoint: str = "checkpoint_final.pth"
    step_size: float = 0.5
    mirroring: bool = True
    device: str = "auto"
    grid: str = ""
    output_types: tuple[str, ...] = ("nifti", "dicom_seg")
    preview: bool = False
    statistics: bool = False
    report: bool = False
    force: bool = False
    ct_series: str | None = None
    pet_series: str | None = None
    weights: str | None = None
    max_suv: float = 10.0
    processes: int = 2
    cases_per_job: int = 20
    rules: RulesFile | None = None


DEFAULTS = Settings()


def segment(
    given: str | Path,
    model: str | Path,
    output: str | Path,
    settings: Settings = DEFAULTS,
    execute: Execute | None = None,
) -> list[Outcome]:
    """Segment every case; one that fails never stops the others, and one that is finished is not done again.

    Args:
        given: Folder of DICOM files or of nnU-Net images, or a table of pairs.
        model: nnU-Net's results folder of one model, or a zip of nnUNetv2_export_model_to_zip.
        output: New folder, or that of an earlier run with this model.
        settings: How to segment.
        execute: Carries cases out as jobs; None for here, or the workers of a cluster.

    Returns:
        What became of every case.

    Raises:
        UserError: If there is nothing to segment, or an argument does not fit.
    """
    output = Path(output).absolute()
    with _unpacking(Path(model), output, execute is not None) as unpacked:
        model = model_folder(Path(model), unpacked)
        dataset = read_dataset(model / "dataset.json")
        settings = settings._replace(grid=settings.grid or grid_of_training(model))
        inputs = find_inputs(Path(given), dataset.file_ending, dataset.num_channels, settings.weights)
        if dataset.num_channels != 2 and not all(case.on_one_grid for case in inputs.cases):
            raise UserError(f"-m {model} reads {dataset.num_channels} images; a study gives two, CT and PET.")
        _require_series(inputs.cases, {"--ct-series": settings.ct_series, "--pet-series": settings.pet_series})
        folds = find_folds(model, settings.folds, settings.checkpoint)
        if settings.rules is not None:
            _require_rules(settings.rules, model, settings.checkpoint)
        OutputFolder(output, MARK, "an output of h2aseg segment", ("model",)).claim({"model": name_of(model)})
        with exclusively(output / ".lock"):
            _remove_partial(output)
            return _segment(inputs.cases, inputs.unreadable, model, folds, dataset, output, settings, execute)


def _segment(
    cases: list[Input],
    unreadable: dict[Path, str],
    model: Path,
    folds: list[str],
    dataset: Dataset,
    output: Path,
    settings: Settings,
    execute: Execute | None,
) -> list[Outcome]:
    assert dataset.labels is not None
    outputs = Outputs(
        output,
        settings.output_types,
        settings.preview,
        settings.statistics,
        settings.max_suv,
        name_of(model),
        dataset.labels.classes,
        dataset.file_ending,
        settings.rules.rule if settings.rules else NO_RULE,
    )
    states = {case.name: _state(case, model, folds, settings) for case in cases}
    done = {case.name: finished(case.name, outputs, states[case.name]) for case in cases}
    outcomes = {name: Outcome(name, None, record) for name, record in done.items() if record is not None}
    todo = [case for case in cases if case.name not in outcomes]
    hidden = execute is not None  # jobs have a progress line of their own
    with tqdm(total=len(cases), initial=len(outcomes), desc="Segmenting", unit="case", disable=hidden) as bar:
        told = states, model, folds, dataset, outputs, settings
        for outcome in outcomes_of(todo, *told) if execute is None else segment_in_jobs(execute, cases, done, told):
            outcomes[outcome.name] = outcome
            if outcome.refused:
                OwnFiles(outputs.case_folder(outcome.name)).remove()
                outputs.network_mask(outcome.name).unlink(missing_ok=True)
                bar.write(f"{outcome.name} REFUSED: {outcome.refused}")
            bar.update()
        for outcome in unreadable_folders(unreadable):
            outcomes[outcome.name] = outcome
            bar.write(f"{outcome.name} REFUSED: {outcome.refused}")
    ordered = [outcomes[name] for name in sorted(outcomes)]
    write_summary(ordered, unreadable, output)
    if settings.report:
        write_report(cases, ordered, model, output, settings.max_suv, settings.processes)
    return ordered


def outcomes_of(
    todo: list[Input],
    states: dict[str, Any],
    model: Path,
    folds: list[str],
    dataset: Dataset,
    outputs: Outputs,
    settings: Settings,
) -> Iterator[Outcome]:
    """Cases as they are finished; the model is loaded once, and not at all where nothing is to be done."""
    if not todo:
        return
    how = How(settings.grid, outputs.folder / "images", settings.ct_series, settings.pet_series)
    work = partial(_prepare_and_check, how=how, dataset=dataset, force=settings.force)
    chosen = settings.checkpoint, settings.device, settings.step_size, settings.mirroring
    engine = chosen_engine()
    if engine is not None:
        yield from segment_on_workers(engine, Model.of(model, folds, *chosen), todo, states, work, outputs)
        return
    predictor = load_predictor(nnUNetPredictor, model, folds, *chosen)
    if settings.processes <= 1:
        yield from (_alone(case, work, predictor, outputs, states[case.name]) for case in todo)
        return
    failed: list[Outcome] = []

    def predicted() -> Generator[Predicted, None, None]:
        for case, made in in_parallel(work, todo, settings.processes):
            if not isinstance(made, Outcome):
                made = attempt(case.name, _predict, predictor, made, outputs, states[case.name])
            if isinstance(made, Outcome):
                failed.append(made)
            else:
                yield made

    for _, outcome in in_parallel(partial(finish, outputs=outputs), predicted(), settings.processes):
        yield outcome
        while failed:
            yield failed.pop(0)
    yield from failed


def _alone(
    case: Input,
    work: Callable[[Input], "_Checked | Outcome"],
    predictor: nnUNetPredictor,
    outputs: Outputs,
    state: Any,
) -> Outcome:
    """All steps of one case: nothing of it is left in memory when the next one begins."""
    made = work(case)
    if not isinstance(made, Outcome):
        made = attempt(case.name, _predict, predictor, made, outputs, state)
    return made if isinstance(made, Outcome) else finish(made, outputs)


class _Checked(NamedTuple):
    prepared: Prepared
    findings: list[str]


def _prepare_and_check(case: Input, how: How, dataset: Dataset, force: bool) -> _Checked | Outcome:
    return attempt(case.name, _prepared, case, how, dataset, force)


def _prepared(case: Input, how: How, dataset: Dataset, force: bool) -> _Checked:
    """Prepare a case and look it over as `h2aseg check` does.

    Raises:
        UserError: If the case cannot be used, or there is an error that may not be passed over.
    """
    prepared, images = prepare_images(case, how)
    in_memory = dict(zip(prepared.images, images, strict=True))
    findings = check_case(Case(case.name, prepared.images), dataset._replace(labels=None), in_memory.get).findings
    errors = [each for each in findings if each.severity == "error" and (not force or each.check in NEVER_FORCED)]
    if errors:
        hint = "" if errors[0].check in NEVER_FORCED else " (--force segments it all the same)"
        raise UserError(errors[0].line(prepared.images[0].parent).removeprefix("error: ") + hint)
    root = prepared.images[0].parent
    return _Checked(prepared, [each.line(root) for each in findings if each.severity != "note"])


def _predict(predictor: nnUNetPredictor, checked: _Checked, outputs: Outputs, state: Any) -> Predicted:
    prepared = checked.prepared
    data, properties = preprocess(predictor, ImageFiles(prepared.input.name, list(prepared.images)))
    values = predictor.predict_logits_from_preprocessed_data(data)
    logits = Logits.of(predictor, values, properties, outputs.network_mask(prepared.input.name))
    return Predicted(prepared, logits, checked.findings, state)


def _require_rules(rules: RulesFile, model: Path, checkpoint: str) -> None:
    """Rules are the model's own, and ask for nothing but PET and probabilities."""
    require_model(rules, model)
    if rules.model["checkpoint"] != checkpoint:
        raise UserError(
            f"{rules.file} was fitted to {rules.model['checkpoint']}, not {checkpoint}: choose it with -chk."
        )
    if rules.rule.needs_liver:
        raise UserError(f"{rules.file} asks for organ maps, which segment has not: use h2aseg postprocess --organs.")


def _require_series(cases: Sequence[Input], named: Mapping[str, str | None]) -> None:
    """A series that the user names is one of a study."""
    known = {uid for case in cases if case.study is not None for uid in case.study.series}
    for option, uid in named.items():
        if uid is not None and uid not in known:
            raise UserError(f"{option} {uid}: no study has a series of this UID.")


@contextmanager
def _unpacking(model: Path, output: Path, in_jobs: bool) -> Iterator[Path]:
    """A folder for an exported model: where workers see it, and where jobs find it after this command was left."""
    if in_jobs and not model.is_dir():
        yield output / FOLDER / "model"
        return
    shared = chosen_engine() is not None and not model.is_dir()
    if shared:
        output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".h2aseg-model-", dir=output if shared else None) as folder:
        yield Path(folder)


def _remove_partial(output: Path) -> None:
    """What a killed run was writing: processes of this machine have ended with it, workers and jobs may still write."""
    files = [file for name in ("images", "masks") for file in (output / name).glob(f"{PARTIAL}*")]
    for path in [*(output / "cases").glob(".*.partial"), *files]:
        if BY_ANOTHER_WRITER.search(path.name) and _age_seconds(path) < SECONDS_TO_WRITE:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _age_seconds(path: Path) -> float:
    try:
        return time.time() - path.lstat().st_mtime
    except FileNotFoundError:  # it has been finished meanwhile
        return 0.0


def _state(case: Input, model: Path, folds: Sequence[str], settings: Settings) -> Any:
    """Everything a result depends on: another state is done again."""
    checkpoints = [Path(model, f"fold_{fold}", settings.checkpoint) for fold in folds]
    chosen = settings._asdict()
    for name in ("device", "processes", "report", "cases_per_job", "rules"):
        del chosen[name]
    if settings.rules is not None:
        chosen["rule"] = settings.rules.rule.as_json()
    state = {
        "files": case.state(),
        "given": [str(value) for value in case.given],
        "checkpoints": [[file.parent.name, file.stat().st_size] for file in checkpoints],
        "settings": chosen,
    }
    return json.loads(json.dumps(state))
