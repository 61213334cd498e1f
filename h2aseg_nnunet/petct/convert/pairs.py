"""A table of file names: `case,ct,pet[,label][,patient]`, for hospital cohorts."""

import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.petct.convert.plan import Case, Plan
from h2aseg_nnunet.petct.tables import read_csv

REQUIRED = ("case", "ct", "pet")
OPTIONAL = ("label", "patient")
NAMED = re.compile(r"\w")
"""A patient's name has a letter or digit: a dash or ditto marks are none."""
CASE_NAME = re.compile(r"\w[\w .+-]*")


def plan(table: str | Path, labels: Sequence[str] = ("tumor",)) -> Plan:
    """Plan the cases of a CSV file, separated by comma, semicolon or tab.

    Paths are relative to the folder in which the table is named; where a link of that name leads does not matter. A row
    without label is a test case. Without `patient`, every case is a patient of its own.

    Args:
        table: The CSV file.
        labels: Names of label 1, 2, ...

    Raises:
        UserError: If the table cannot be read, lacks a column or a value, a case's name cannot be a file's name, or
            patients of one table would be on both sides of a fold.
    """
    table = Path(table).parent.resolve() / Path(table).name
    rows = read_csv(table, REQUIRED)
    _check_patients(rows, table)
    cases, notes = _spell_patients_alike([_case(row, table, line) for line, row in rows])
    if rows and (ignored := sorted(set(rows[0][1]) - {*REQUIRED, *OPTIONAL})):
        notes.append(f"columns {', '.join(ignored)} of {table.name} are not used")
    if not any(row.get("patient") for _, row in rows):
        notes.append(
            f"WARNING: {table.name} names no patients, so every case counts as a patient of its own in the folds. If "
            "one has several cases, validation is too good: add a column patient"
        )
    notes += _note_on_shared_files(cases, table)
    name = re.sub(r"\W+", "", table.stem) or "Pairs"
    return Plan(
        name,
        "table of CT/PET pairs",
        table,
        tuple(labels),
        cases,
        notes=tuple(notes),
        labels_by="--labels",
        listed=True,
    )


def _check_patients(rows: list[tuple[int, dict[str, str]]], table: Path) -> None:
    """A row without patient among others would be a patient of its own, on the other side of a fold."""
    named = [line for line, row in rows if NAMED.search(row.get("patient", ""))]
    unnamed = [line for line, row in rows if not NAMED.search(row.get("patient", ""))]
    if named and unnamed:
        value = next(row["patient"] for line, row in rows if line == unnamed[0])
        raise UserError(
            f"{table}, line {unnamed[0]}: the patient is {value!r}, but other rows name theirs ({len(unnamed)} rows do "
            "not). Merged cells of a spreadsheet are filled in their first row only: name the patient in every row."
        )


def _spell_patients_alike(cases: list[Case]) -> tuple[tuple[Case, ...], list[str]]:
    """Names that differ in capitals, spaces or the encoding of accents are one patient's; and what to say of it."""
    spellings: dict[str, str] = {}
    alike, changed = [], set()
    for case in cases:
        key = unicodedata.normalize("NFKC", "".join(case.patient.split())).casefold()
        patient = spellings.setdefault(key, case.patient)
        if patient != case.patient:
            changed.add(f"{case.patient} is {patient}")
        alike.append(replace(case, patient=patient))
    notes = [f"patients spelled alike count as one: {listing(sorted(changed))}"] if changed else []
    return tuple(alike), notes


def _note_on_shared_files(cases: tuple[Case, ...], table: Path) -> list[str]:
    """One image in cases of two patients may be on both sides of a fold."""
    users: dict[str, Case] = {}
    shared = []
    for case in cases:
        for file in case.sources.values():
            other = users.setdefault(os.path.realpath(file), case)
            if other.patient != case.patient:
                shared.append(f"{file.name} in {other.name} and {case.name}")
    if not shared:
        return []
    return [
        f"WARNING: {table.name} gives one file to several patients ({listing(shared)}), so folds may have it on both "
        "sides: name the file of each case, or one patient in both rows"
    ]


def _case(row: dict[str, str], table: Path, line: int) -> Case:
    if empty := [column for column in REQUIRED if not row[column]]:
        raise UserError(f"{table}, line {line}: no {' and no '.join(empty)}.")
    name = row["case"]
    if not CASE_NAME.fullmatch(name):
        raise UserError(
            f"{table}, line {line}: {name!r} cannot be a case's name. It becomes a file's name: begin with a letter "
            "or digit, then also spaces and . _ + -"
        )
    folder = table.parent
    label = folder / row["label"] if row.get("label") else None
    patient = row.get("patient") or name
    return Case(name, patient, folder / row["ct"], folder / row["pet"], label, training=label is not None)
