"""A new version of a case is made beside the earlier one, and put into its place when it is whole.

The order makes a kill harmless at any time: the case's files, then its record beside them, then one file after the
other into its place, then the record of the dataset, then away with the one in the staging folder. Who finds a record
there finishes the rest.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.convert.case import Task, convert_case
from h2aseg_nnunet.petct.convert.ledger import Ledger, exists
from h2aseg_nnunet.petct.convert.plan import Case
from h2aseg_nnunet.petct.convert.raw_dataset import RawFolder
from h2aseg_nnunet.petct.convert.record import Record, is_as_written
from h2aseg_nnunet.petct.files import read_own_json, write_json


@contextmanager
def staging_of(ledger: Ledger) -> Iterator[RawFolder]:
    """Yield an empty staging folder; first cases that were whole when a run was killed are put into their place."""
    staging = ledger.folder.staging
    for journal in sorted(staging.path.glob("[!.]*.json")):  # hidden ones are half-written
        if (content := read_own_json(journal)) is not None:
            take(ledger, journal.name.removesuffix(".json"), Record.of(content))
    ledger.save()
    remove_tree(staging.path)
    try:
        yield staging
    finally:
        with suppress(UserError):  # a full disk, for which the conversion ends already
            ledger.save()
        if not ledger.unsaved:
            remove_tree(staging.path)


def stage_case(case: Case, task: Task) -> Record:
    """Convert a case into the staging folder, its record last. Runs in a worker process."""
    record = convert_case(case, task)
    if not record.refused:
        write_json(_journal(task.folder, case.name), record.as_json())
    return record


def take(ledger: Ledger, name: str, record: Record) -> list[Path]:
    """Put a staged case into its place and on record, unless files that are not ours are in the way: return those."""
    blocking = blocking_files(ledger, name, record)
    if not blocking:
        swap_in(ledger, ledger.folder.staging, name, record)
        ledger.records[name] = record
        ledger.unsaved.append(name)
        unsaved = list(ledger.unsaved)
        ledger.save_now_and_then()
        for saved in set(unsaved) - set(ledger.unsaved):
            _journal(ledger.folder.staging, saved).unlink(missing_ok=True)
    return blocking


def swap_in(ledger: Ledger, staging: RawFolder, name: str, record: Record) -> None:
    """Move the staged files of a case to the dataset, then remove what its earlier version had beyond them."""
    earlier = ledger.files(name) if name in ledger.records else {}
    staged, targets = (folder.files(name, record.training) for folder in (staging, ledger.folder))
    for role in record.written:
        if exists(staged[role]):
            targets[role].parent.mkdir(parents=True, exist_ok=True)
            os.replace(staged[role], targets[role])
    for file in set(earlier.values()) - {targets[role] for role in record.written}:
        file.unlink(missing_ok=True)


def blocking_files(ledger: Ledger, name: str, record: Record) -> list[Path]:
    """Find files that a new version of a case would replace or remove, and that we have not written as they are."""
    targets = ledger.folder.files(name, record.training)
    marks = {targets[role]: [mark] for role, mark in record.written.items()}
    if name in ledger.records:
        for role, file in ledger.files(name).items():
            marks.setdefault(file, []).append(ledger.records[name].written.get(role, {}))
    return [
        file
        for file, known in marks.items()
        if exists(file) and not any(is_as_written(file, mark) for mark in known if mark)
    ]


def remove_tree(folder: Path) -> None:
    """Remove a folder of ours, in which a killed worker may be writing its last."""
    shutil.rmtree(folder, ignore_errors=True)


def _journal(staging: RawFolder, case: str) -> Path:
    return staging.path / f"{case}.json"
