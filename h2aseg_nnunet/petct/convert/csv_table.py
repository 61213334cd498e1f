"""CSV files as people and spreadsheets write them."""

import csv
from collections.abc import Sequence
from pathlib import Path

DELIMITERS = ",;\t"


def read_table(file: Path, required: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Rows with their line numbers, empty ones left out; columns are named in lower case.

    The delimiter is the one of comma, semicolon and tab that the first line has most of.

    Raises:
        ValueError: If the file is missing or not UTF-8, lacks a column, or a row has more fields than the first line.
    """
    if not file.is_file():
        raise ValueError(f"{file} does not exist; a CSV file with the columns {', '.join(required)} was expected.")
    try:
        return _rows(file, required)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file} is not text in UTF-8; save it as 'CSV UTF-8'.") from error


def _rows(file: Path, required: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    delimiter = max(DELIMITERS, key=lines[0].count) if lines else ","
    reader = csv.reader(lines, delimiter=delimiter)
    columns = [name.strip().lower() for name in next(reader, [])]
    if lacking := [column for column in required if column not in columns]:
        raise ValueError(f"{file} lacks the columns {', '.join(lacking)}; it has {', '.join(columns) or 'none'}.")
    rows = []
    for fields in reader:
        if any(field.strip() for field in fields[len(columns) :]):
            raise ValueError(f"{file}, line {reader.line_num}: {len(fields)} fields for {len(columns)} columns.")
        if any(field.strip() for field in fields):
            row = dict.fromkeys(columns, "") | dict(zip(columns, map(str.strip, fields), strict=False))
            rows.append((reader.line_num, row))
    return rows
