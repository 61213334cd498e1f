"""A table of file names: `case,ct,pet[,label][,patient]`, for hospital cohorts."""

import re
from collections.abc import Sequence
from pathlib import Path

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.convert.plan import Case, Plan
from h2aseg_nnunet.petct.tables import read_csv

REQUIRED = ("case", "ct", "pet")
OPTIONAL = ("label", "patient")
CASE_NAME = re.compile(r"\w[\w .+-]*")


def plan(table: str | Path, labels: Sequence[str] = ("tumor",)) -> Plan:
    """The cases of a CSV file, separated by comma, semicolon or tab; paths are relative to its folder.

    A row without label is a test case. Without `patient`, every case is a patient of its own.

    Args:
        table: The CSV file.
        labels: Names of label 1, 2, ...

    Raises:
        UserError: If the table cannot be read, lacks a column or a value, or a case's name cannot be a file's name.
    """
    table = Path(table).resolve()
    rows = read_csv(table, REQUIRED)
    cases = tuple(_case(row, table, line) for line, row in rows)
    notes = []
    if rows and (ignored := sorted(set(rows[0][1]) - {*REQUIRED, *OPTIONAL})):
        notes.append(f"columns {', '.join(ignored)} of {table.name} are not used")
    if not any(row.get("patient") for _, row in rows):
        notes.append(f"{table.name} names no patients, so every case counts as a patient of its own in the folds")
    name = re.sub(r"\W+", "", table.stem) or "Pairs"
    return Plan(name, "table of CT/PET pairs", table, tuple(labels), cases, notes=tuple(notes))


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
