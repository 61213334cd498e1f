"""`h2aseg report`: from nnU-Net's folders to a folder of pages that opens in any browser."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from h2aseg_nnunet import __version__
from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.parallel import in_parallel
from h2aseg_nnunet.petct.report.case_page import DEFAULT_SETTINGS, Settings, write_case
from h2aseg_nnunet.petct.report.cohort import CaseFiles, Cohort, find_cases
from h2aseg_nnunet.petct.report.dataset import Dataset, find_dataset_json, read_dataset
from h2aseg_nnunet.petct.report.html import write_text
from h2aseg_nnunet.petct.report.overview import overview, worst_case_names


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

    files: CaseFiles
    dataset: Dataset
    settings: Settings
    folder: Path
    fingerprint: str


def make_report(
    images: str | Path,
    predictions: str | Path,
    output: str | Path,
    references: str | Path | None = None,
    dataset_json: str | Path | None = None,
    settings: Settings = DEFAULT_SETTINGS,
    num_processes: int = 2,
) -> Report:
    """Write a report, or bring it up to date: only cases whose files or settings have changed are drawn again.

    Args:
        images: Folder with CASE_0000 (CT) and CASE_0001 (PET in SUV), as for nnUNetv2_predict.
        predictions: Folder with a segmentation per case.
        output: New or empty folder, or an earlier report on the same images and predictions.
        references: Folder with a segmentation per case.
        dataset_json: Default: beside the predictions, else beside `images`.
        settings: How cases are shown.
        num_processes: Cases drawn at a time; a whole-body case needs about 2 GB.

    Raises:
        UserError: If there is nothing to show, or `output` holds something else.
        RuntimeError: If a process is killed.
    """
    images, predictions, output = Path(images), Path(predictions), Path(output)
    references = None if references is None else Path(references)
    _check(settings, num_processes)
    dataset = read_dataset(Path(dataset_json) if dataset_json else find_dataset_json(predictions, images))
    cohort = find_cases(images, predictions, references, dataset)
    folders = {"images": str(images.resolve()), "predictions": str(predictions.resolve())}
    _claim(output, folders)
    jobs = [_job(files, dataset, settings, output / "cases") for files in cohort.cases]
    _remove_others(output / "cases", {job.files.name for job in jobs})
    problems = _draw(jobs, num_processes)
    records = [record for record in map(_record, jobs) if record is not None]
    if references is not None:
        folders["references"] = str(references.resolve())
    notes = _notes(cohort, problems)
    _write_overview(output, records, folders, notes)
    return Report(output / "index.html", notes, sorted([*problems, *cohort.without_images]))


def _check(settings: Settings, num_processes: int) -> None:
    if settings.max_suv <= 0 or settings.num_lesions < 0 or num_processes < 1:
        raise UserError(
            f"--max_suv {settings.max_suv:g} must be above 0, --num_lesions {settings.num_lesions} 0 or more, and -np "
            f"{num_processes} 1 or more."
        )


def _claim(output: Path, folders: Mapping[str, str]) -> None:
    """Mark the folder as this report's, or make sure that it is: nothing else is overwritten or mixed up with ours."""
    mark = output / "report.json"
    if mark.is_file():
        found = _read_json(mark)
        if found != folders:
            raise UserError(f"{output} holds a report on {found}, not on {folders}: choose another folder.")
    elif output.is_dir() and any(output.iterdir()):
        raise UserError(f"{output} exists and is not a report: choose a new or empty folder.")
    else:
        write_text(mark, json.dumps(folders, indent=1))


def _job(files: CaseFiles, dataset: Dataset, settings: Settings, folder: Path) -> _Job:
    """The fingerprint changes with anything that would change the page."""
    states = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files.files()]
    content = json.dumps([_code(), dataset, settings, states])
    return _Job(files, dataset, settings, folder, hashlib.sha256(content.encode()).hexdigest())


@cache
def _code() -> str:
    """Checksum of this package: pages of another version are drawn again."""
    folder = Path(__file__).parent
    files = sorted([*folder.glob("*.py"), *folder.glob("templates/*")])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _record(job: _Job) -> dict | None:
    """What was left of a case that is finished, from the same files and settings; else None."""
    page, picture, record = _pages(job.folder, job.files.name)
    if not (page.is_file() and picture.is_file() and record.is_file()):
        return None
    content = _read_json(record)
    return content if content and content.get("fingerprint") == job.fingerprint else None


def _read_json(file: Path) -> dict | None:
    """None if somebody else wrote it."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _pages(folder: Path, name: str) -> list[Path]:
    """Page, thumbnail and, written last, record."""
    return [folder / f"{name}{ending}" for ending in (".html", ".svg", ".json")]


def _remove_others(folder: Path, names: set[str]) -> None:
    """Cases of an earlier run that are no longer predicted."""
    for record in folder.glob("*.json"):
        if record.stem not in names:
            for file in reversed(_pages(folder, record.stem)):
                file.unlink(missing_ok=True)


def _draw(jobs: Sequence[_Job], num_processes: int) -> dict[str, str]:
    """Draw the cases that are not finished; what is wrong with those that cannot be, by name."""
    todo = [job for job in jobs if _record(job) is None]
    with tqdm(total=len(jobs), initial=len(jobs) - len(todo), desc="Cases", unit="case") as bar:
        problems = {}
        for job, problem in in_parallel(_try, todo, num_processes):
            bar.update()
            if problem:
                problems[job.files.name] = problem
    return problems


def _try(job: _Job) -> str | None:
    """What is wrong with the case, if anything: it does not cost the report on the others."""
    for file in reversed(_pages(job.folder, job.files.name)):
        file.unlink(missing_ok=True)
    try:
        write_case(job.files, job.dataset, job.settings, job.folder, job.fingerprint)
    except (ValueError, RuntimeError, OSError, MemoryError) as error:
        return str(error) or type(error).__name__
    return None


def _notes(cohort: Cohort, problems: Mapping[str, str]) -> dict[str, list[str]]:
    notes = {
        "Could not be shown": [f"{name}: {problem}" for name, problem in sorted(problems.items())],
        "Predicted, but CT or PET is missing": cohort.without_images,
        "No reference: not compared": cohort.without_reference,
        "No prediction: not in this report": cohort.without_prediction,
    }
    return {title: names for title, names in notes.items() if names}


def _write_overview(
    output: Path, records: Sequence[Mapping], folders: Mapping[str, str], notes: Mapping[str, Sequence[str]]
) -> None:
    """The order for the case pages' links is a script of its own: a new case changes it, but not the other pages."""
    write_text(output / "cases" / "order.js", f"const CASES = {json.dumps(worst_case_names(records))};\n")
    write_text(output / "index.html", overview(records, notes, folders=folders, version=__version__))
