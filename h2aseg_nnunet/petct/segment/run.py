"""Segment a cohort: prepare in other processes, predict here, write in other processes; finished cases stay."""

import json
import zipfile
from collections.abc import Generator, Iterator, Sequence
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
from h2aseg_nnunet.petct.dicom.inputs import Input, find_inputs
from h2aseg_nnunet.petct.dicom.prepare import How, Prepared, prepare
from h2aseg_nnunet.petct.files import OutputFolder, exclusively, write_json, write_text
from h2aseg_nnunet.petct.nnunet.dataset_json import Dataset, read_dataset, read_dataset_json
from h2aseg_nnunet.petct.nnunet.exports import Logits, preprocess
from h2aseg_nnunet.petct.nnunet.models import find_folds, load_predictor
from h2aseg_nnunet.petct.own_files import OwnFiles
from h2aseg_nnunet.petct.parallel import in_parallel
from h2aseg_nnunet.petct.segment.finish import NOTE, Outcome, Outputs, Predicted, attempt, finish, finished
from h2aseg_nnunet.petct.tables import write_csv

MARK = "segment.json"
NEVER_FORCED = ("unreadable", "position", "grid", "missing-file", "not-finite", "constant")
"""Errors of `h2aseg check` that --force does not pass over: nothing sensible can come of such a case."""

SUMMARY = ("case", "status", "num_lesions", "tmtv_ml", "tlg", "suv_max", "suv_peak", "message")


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
        report: Whether to make `h2aseg report`'s pages.
        force: Whether to segment cases although `h2aseg check` finds errors in them.
        ct_series, pet_series: UIDs that override the choice of series.
        weights: Table of what headers lack.
        max_suv: SUV drawn black in pictures.
        processes: Number of processes beside the network's; 1 for everything in one, case by case.
    """

    folds: tuple[str, ...] = ()
    checkpoint: str = "checkpoint_final.pth"
    step_size: float = 0.5
    mirroring: bool = True
    device: str = "auto"
    grid: str = ""
    output_types: tuple[str, ...] = ("nifti", "dicom_seg")
    preview: bool = False
    report: bool = False
    force: bool = False
    ct_series: str | None = None
    pet_series: str | None = None
    weights: str | None = None
    max_suv: float = 10.0
    processes: int = 2


DEFAULTS = Settings()


def segment(given: str | Path, model: str | Path, output: str | Path, settings: Settings = DEFAULTS) -> list[Outcome]:
    """Segment every case; one that fails never stops the others, and one that is finished is not done again.

    Args:
        given: Folder of DICOM files or of nnU-Net images, or a table of pairs.
        model: nnU-Net's results folder of one model, or a zip of nnUNetv2_export_model_to_zip.
        output: New folder, or that of an earlier run with this model.
        settings: How to segment.

    Returns:
        What became of every case.

    Raises:
        UserError: If there is nothing to segment, or an argument does not fit.
    """
    output = Path(output).absolute()
    with TemporaryDirectory() as unpacked:
        model = _model_folder(Path(model), Path(unpacked))
        dataset = read_dataset(model / "dataset.json")
        settings = settings._replace(grid=settings.grid or _grid_of_training(model))
        inputs = find_inputs(Path(given), dataset.file_ending, dataset.num_channels, settings.weights)
        folds = find_folds(model, settings.folds, settings.checkpoint)
        OutputFolder(output, MARK, "an output of h2aseg segment", ("model",)).claim({"model": _name(model)})
        with exclusively(output / ".lock"):
            return _segment(inputs.cases, inputs.unreadable, model, folds, dataset, output, settings)


def _segment(
    cases: list[Input],
    unreadable: dict[Path, str],
    model: Path,
    folds: list[str],
    dataset: Dataset,
    output: Path,
    settings: Settings,
) -> list[Outcome]:
    assert dataset.labels is not None
    outputs = Outputs(
        output,
        settings.output_types,
        settings.preview,
        settings.max_suv,
        _name(model),
        dataset.labels.classes,
        dataset.file_ending,
    )
    states = {case.name: _state(case, model, folds, settings) for case in cases}
    done = {case.name: finished(case.name, outputs, states[case.name]) for case in cases}
    outcomes = {name: Outcome(name, None, record) for name, record in done.items() if record is not None}
    todo = [case for case in cases if case.name not in outcomes]
    with tqdm(total=len(cases), initial=len(outcomes), desc="Segmenting", unit="case") as bar:
        for outcome in _outcomes(todo, states, model, folds, dataset, outputs, settings):
            outcomes[outcome.name] = outcome
            if outcome.refused:
                OwnFiles(outputs.case_folder(outcome.name)).remove()
                bar.write(f"{outcome.name} REFUSED: {outcome.refused}")
            bar.update()
    ordered = [outcomes[name] for name in sorted(outcomes)]
    _write_summary(ordered, unreadable, output)
    if settings.report:
        _report(cases, ordered, model, output, settings)
    return ordered


def _outcomes(
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
    predictor = load_predictor(
        nnUNetPredictor,
        model,
        folds,
        settings.checkpoint,
        settings.device,
        settings.step_size,
        settings.mirroring,
    )
    how = How(settings.grid, outputs.folder / "images", settings.ct_series, settings.pet_series)
    work = partial(_prepare_and_check, how=how, dataset=dataset, force=settings.force)
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
    prepared = prepare(case, how)
    findings = check_case(Case(case.name, prepared.images), dataset._replace(labels=None)).findings
    errors = [each for each in findings if each.severity == "error" and (not force or each.check in NEVER_FORCED)]
    if errors:
        hint = "" if errors[0].check in NEVER_FORCED else " (--force segments it all the same)"
        raise UserError(errors[0].line(prepared.images[0].parent).removeprefix("error: ") + hint)
    root = prepared.images[0].parent
    return _Checked(prepared, [each.line(root) for each in findings if each.severity != "note"])


def _predict(predictor: nnUNetPredictor, checked: _Checked, outputs: Outputs, state: Any) -> Predicted:
    prepared = checked.prepared
    data, properties = preprocess(predictor, ImageFiles(prepared.input.name, list(prepared.images)))
    logits = predictor.predict_logits_from_preprocessed_data(data).numpy()
    about = predictor.configuration_manager, predictor.plans_manager, predictor.dataset_json
    file = outputs.network_mask(prepared.input.name)
    return Predicted(prepared, Logits(logits, properties, about, file), checked.findings, state)


def _model_folder(model: Path, unpacked: Path) -> Path:
    """The folder of the model; a zip is unpacked."""
    if model.is_dir():
        return model.absolute()
    if not zipfile.is_zipfile(model):
        raise UserError(f"-m {model} is neither a model folder nor a zip of nnUNetv2_export_model_to_zip.")
    with zipfile.ZipFile(model) as archive:
        archive.extractall(unpacked)
    found = sorted({file.parent for file in unpacked.rglob("plans.json") if (file.parent / "dataset.json").is_file()})
    if len(found) != 1:
        names = ", ".join(folder.name for folder in found) or "none"
        raise UserError(f"-m {model} should hold one model, but holds {names}: unpack it and give the folder.")
    return found[0]


def _grid_of_training(model: Path) -> str:
    """The grid on which `h2aseg convert` brought the model's training set; the PET's, as in AutoPET, if unknown."""
    conversion = read_dataset_json(model / "dataset.json").get("conversion") or {}
    spacing_mm = conversion.get("spacing_mm")
    if spacing_mm and len(set(spacing_mm)) == 1:
        return f"{spacing_mm[0]:g}"
    return "ct" if conversion and "AutoPET" not in str(conversion.get("layout")) else "pet"


def _name(model: Path) -> str:
    return f"{model.parent.name}/{model.name}" if model.parent.name.startswith("Dataset") else model.name


def _state(case: Input, model: Path, folds: Sequence[str], settings: Settings) -> Any:
    """Everything a result depends on: another state is done again."""
    checkpoints = [Path(model, f"fold_{fold}", settings.checkpoint) for fold in folds]
    chosen = settings._asdict()
    for name in ("device", "processes", "report"):
        del chosen[name]
    state = {
        "files": case.state(),
        "given": [str(value) for value in case.given],
        "checkpoints": [[file.parent.name, file.stat().st_size] for file in checkpoints],
        "settings": chosen,
    }
    return json.loads(json.dumps(state))


def _write_summary(outcomes: Sequence[Outcome], unreadable: dict[Path, str], output: Path) -> None:
    rows = []
    for outcome in outcomes:
        values = [outcome.record.get(column, "") for column in SUMMARY[2:-1]]
        message = outcome.refused or "; ".join([*outcome.record.get("notes", []), *outcome.record.get("findings", [])])
        rows.append([outcome.name, "refused" if outcome.refused else "segmented", *values, message])
    write_csv(output / "summary.csv", SUMMARY, rows)
    records = {
        outcome.name: {"refused": outcome.refused} if outcome.refused else outcome.record for outcome in outcomes
    }
    files = {str(file): reason for file, reason in unreadable.items()}
    write_json(output / "summary.json", {"note": NOTE, "cases": records, "unreadable_files": files})
    traces = "\n".join(f"{outcome.name}\n{outcome.trace}" for outcome in outcomes if outcome.trace)
    if traces:
        write_text(output / "faults.log", traces)


def _report(cases: Sequence[Input], outcomes: Sequence[Outcome], model: Path, output: Path, settings: Settings) -> None:
    """Make the pages of `h2aseg report`; nnU-Net's own images are linked into the folder of images first."""
    from h2aseg_nnunet.petct.report.case_page import PageSettings
    from h2aseg_nnunet.petct.report.run import make_report

    shown = {outcome.name for outcome in outcomes if not outcome.refused}
    for case in cases:
        for channel, file in enumerate(case.images if case.on_one_grid and case.name in shown else ()):
            link = output / "images" / f"{case.name}_{channel:04d}{''.join(file.suffixes[-2:])}"
            link.parent.mkdir(exist_ok=True)
            if not link.exists():
                link.symlink_to(file.resolve())
    if shown:
        make_report(
            output / "images",
            output / "masks",
            output / "report",
            dataset_json=model / "dataset.json",
            settings=PageSettings(max_suv=settings.max_suv),
            num_processes=settings.processes,
        )
