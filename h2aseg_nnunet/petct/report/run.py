"""From nnU-Net's folders to a folder of pages that opens in any browser. Read this first."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from h2aseg_nnunet import __version__
from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.files import OutputFolder, read_own_json, write_text
from h2aseg_nnunet.petct.images.masks import MaskValues
from h2aseg_nnunet.petct.labels import Declared
from h2aseg_nnunet.petct.nnunet.dataset_json import Dataset, declared_beside, find_dataset_json, read_dataset
from h2aseg_nnunet.petct.parallel import in_parallel
from h2aseg_nnunet.petct.report.case_page import DEFAULT_SETTINGS, PageSettings, write_case
from h2aseg_nnunet.petct.report.cohort import Cohort, ReportedCase, find_cases
from h2aseg_nnunet.petct.report.overview import overview, worst_case_names

COULD_NOT = "Could not be shown"
"""Title of the note on cases with a problem."""

SOURCES = ("report", "images", "evaluate")
"""Packages whose code decides what a page shows."""


class Report(NamedTuple):
    """What was written, and what is to be said of it.

    Attributes:
        page: The overview.
        notes: Names of cases that are incomplete or could not be shown, by what is missing.
        failed: Predictions that the report does not show.
    """

    page: Path
    notes: dict[str, list[str]]
    failed: list[str]


class _Job(NamedTuple):
    """All that a process needs for one case."""

    files: ReportedCase
    mask_values: MaskValues
    settings: PageSettings
    folder: Path
    fingerprint: str

    @property
    def name(self) -> str:
        """The case."""
        return self.files.name


def make_report(
    images: str | Path,
    predictions: str | Path,
    output: str | Path,
    references: str | Path | None = None,
    dataset_json: str | Path | None = None,
    settings: PageSettings = DEFAULT_SETTINGS,
    num_processes: int = 2,
) -> Report:
    """Write a report, or bring it up to date: only cases whose files or settings have changed are drawn again.

    Args:
        images: Folder with CASE_0000 (CT) and CASE_0001 (PET in SUV), as for nnUNetv2_predict.
        predictions: Folder with a segmentation per case.
        output: New or empty folder, or an earlier report on the same images and predictions.
        references: Folder with a segmentation per case.
        dataset_json: The dataset.json to use; None for the one beside the predictions, else beside `images`.
        settings: What is shown, and how.
        num_processes: Number of cases drawn at a time; a whole-body case needs about 2 GB.

    Raises:
        UserError: If there is nothing to show, `output` holds something else, or a process is killed.
    """
    images, predictions, output = Path(images), Path(predictions), Path(output)
    references = None if references is None else Path(references)
    _check(settings, num_processes)
    file = Path(dataset_json) if dataset_json else _find_dataset_json(predictions, images)
    dataset = read_dataset(file)
    mask_values = _mask_values(dataset, file, None if dataset_json else references)
    cohort = find_cases(images, predictions, references, dataset)
    folders = {"images": str(images.resolve()), "predictions": str(predictions.resolve())}
    OutputFolder(output, "report.json", "a report", keys=tuple(folders)).claim(folders)
    jobs = [_job(files, mask_values, settings, output / "cases") for files in cohort.cases]
    _remove_others(output / "cases", {job.files.name for job in jobs})
    problems = _draw(jobs, num_processes)
    records = [record for record in map(_record, jobs) if record is not None]
    if references is not None:
        folders["references"] = str(references.resolve())
    notes = _notes(cohort, problems)
    _write_overview(output, records, folders, notes)
    return Report(output / "index.html", notes, sorted([*problems, *cohort.without_images]))


def _check(settings: PageSettings, num_processes: int) -> None:
    if not 0 < settings.max_suv < math.inf:
        raise UserError(f"--max-suv {settings.max_suv:g}: a number above 0 is expected, for instance 10.")
    if settings.num_lesions < 0:
        raise UserError(f"--num-lesions {settings.num_lesions}: 0 or more is expected.")
    if num_processes < 1:
        raise UserError(f"-np {num_processes}: 1 or more processes are expected.")


def _find_dataset_json(predictions: Path, images: Path) -> Path:
    file = find_dataset_json(predictions) or find_dataset_json(images)
    if file is None:
        raise UserError(
            f"No dataset.json lies beside or above {predictions} or {images}: name the file with --dataset-json."
        )
    return file


def _mask_values(dataset: Dataset, file: Path, references: Path | None) -> MaskValues:
    """Find out which values masks may hold: the labels of the report, and the ignore label of the references.

    Args:
        dataset: What the report's dataset.json declares.
        file: The report's dataset.json.
        references: Folder of references that may have a dataset.json of their own; None to pass over it.

    Raises:
        UserError: If there is nothing to show, or what one dataset.json ignores is a class in the other.
    """
    assert dataset.labels is not None
    if not dataset.labels.classes:
        raise UserError(f"{file} names no class beside the background: there is nothing to show.")
    shown = Declared(dataset.labels, str(file))
    own = declared_beside(references) if references and references.is_dir() else None
    if own is None:
        return MaskValues(shown, shown)
    for one, other in ((own, shown), (shown, own)):
        if one.labels.ignore in other.labels.values:
            raise UserError(
                f"{one.source} declares {one.labels.ignore} as ignore label, {other.source} as a class: name the file "
                "that describes the masks with --dataset-json."
            )
    ignore = shown.labels.ignore if own.labels.ignore is None else own.labels.ignore
    return MaskValues(shown._replace(labels=shown.labels._replace(ignore=ignore)), shown)


def _job(files: ReportedCase, mask_values: MaskValues, settings: PageSettings, folder: Path) -> _Job:
    """Prepare a case; its fingerprint changes with anything that would change the page."""
    states = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files.files()]
    content = json.dumps([_code(), mask_values, settings, states])
    return _Job(files, mask_values, settings, folder, hashlib.sha256(content.encode()).hexdigest())


@cache
def _code() -> str:
    """Return a checksum of the code that makes pages: those of another version are drawn again."""
    packages = [Path(__file__).parents[1] / name for name in SOURCES]
    files = sorted(file for package in packages for file in (*package.glob("*.py"), *package.glob("templates/*")))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _record(job: _Job) -> dict[str, Any] | None:
    """Return what was left of a case that is finished, from the same files and settings; else None."""
    page, picture, record = _pages(job.folder, job.files.name)
    if not (page.is_file() and picture.is_file()):
        return None
    content = read_own_json(record)
    return content if content and content.get("fingerprint") == job.fingerprint else None


def _pages(folder: Path, name: str) -> list[Path]:
    """Return page, thumbnail and, written last, record."""
    return [folder / f"{name}{ending}" for ending in (".html", ".svg", ".json")]


def _remove_others(folder: Path, names: set[str]) -> None:
    """Remove cases of an earlier run that are no longer predicted."""
    for record in folder.glob("*.json"):
        if record.stem not in names and "fingerprint" in (read_own_json(record) or {}):
            for file in reversed(_pages(folder, record.stem)):
                file.unlink(missing_ok=True)


def _draw(jobs: Sequence[_Job], num_processes: int) -> dict[str, str]:
    """Draw the cases that are not finished; return what is wrong with those that cannot be, by name."""
    todo = [job for job in jobs if _record(job) is None]
    with tqdm(total=len(jobs), initial=len(jobs) - len(todo), desc="Cases", unit="case") as bar:
        problems = {}
        for job, problem in in_parallel(_try, todo, num_processes, lost=lambda job, why: why):
            bar.update()
            if problem:
                problems[job.files.name] = problem
    return problems


def _try(job: _Job) -> str | None:
    """Draw a case; return what is wrong with it, if anything: that does not cost the report on the others."""
    for file in reversed(_pages(job.folder, job.files.name)):
        file.unlink(missing_ok=True)
    try:
        write_case(job.files, job.mask_values, job.settings, job.folder, job.fingerprint)
    except (UserError, OSError, MemoryError) as error:
        return str(error) or type(error).__name__
    return None


def _notes(cohort: Cohort, problems: Mapping[str, str]) -> dict[str, list[str]]:
    notes = {
        COULD_NOT: [f"{name}: {problem}" for name, problem in sorted(problems.items())],
        "Predicted, but CT or PET is missing": cohort.without_images,
        "No reference: not compared": cohort.without_reference,
        "No prediction: not in this report": cohort.without_prediction,
    }
    return {title: names for title, names in notes.items() if names}


def _write_overview(
    output: Path, records: Sequence[Mapping], folders: Mapping[str, str], notes: Mapping[str, Sequence[str]]
) -> None:
    """Write the first page, and the order for the links of case pages: a new case changes it, but not their files."""
    write_text(output / "cases" / "order.js", f"const CASES = {json.dumps(worst_case_names(records))};\n")
    write_text(output / "index.html", overview(records, notes, folders=folders, version=__version__))
