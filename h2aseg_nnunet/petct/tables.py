"""Tables: CSV files as people and spreadsheets write them, our own CSV files, and Markdown."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.files import replacing

DELIMITERS = ",;\t"
LONGEST_HEADING_BYTES = 1 << 16


def read_csv(file: Path, required: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Read the rows of a table with their line numbers; empty rows are left out, columns are named in lower case.

    The delimiter is the one of comma, semicolon and tab that the first line has most of.

    Args:
        file: The table.
        required: Names of columns that must be there.

    Raises:
        UserError: If the file is missing or not UTF-8, lacks a column or has it twice, or a row has more fields than
            the first line.
    """
    if not file.is_file():
        raise UserError(f"{file} does not exist; a CSV file with the columns {', '.join(required)} was expected.")
    try:
        return _rows(file, required)
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not text in UTF-8; save it as 'CSV UTF-8'.") from error
    except csv.Error as error:
        raise UserError(f"{file} is not a CSV file: {error}; save it as 'CSV UTF-8'.") from error


def write_csv(file: Path, heading: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table; NaN becomes an empty field."""
    with replacing(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(heading)
        table.writerows([["" if _is_nan(value) else value for value in row] for row in rows])


def has_heading(file: Path, heading: Sequence[str]) -> bool:
    """Whether a CSV file begins with these columns: whether it is ours."""
    with file.open("rb") as stream:
        first = stream.readline(LONGEST_HEADING_BYTES).decode("utf-8", "replace").rstrip("\r\n")
    return first.split(",")[: len(heading)] == list(heading)


def to_markdown(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a Markdown table whose columns are aligned, to be read as it is."""
    lines = [list(heading), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(map(str.ljust, line, widths))} |" for line in lines)


def number(value: float | None, digits: str) -> str:
    """Format a number by a format specification such as ".4f"; a dash if it is None or NaN."""
    return "-" if value is None or math.isnan(value) else f"{value:{digits}}"


def with_interval(summary: Mapping[str, Any], digits: str, sign: str = "") -> str:
    """Format `mean` and `interval_95` of a summary: `0.7463 [0.7001, 0.7844]`; the mean alone without an interval."""
    mean, *ends = (number(value, sign + digits) for value in (summary["mean"], *summary["interval_95"]))
    return mean if "-" in (mean, *ends) else f"{mean} [{', '.join(ends)}]"


def _rows(file: Path, required: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    text = file.read_text(encoding="utf-8-sig")
    delimiter = max(DELIMITERS, key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)  # fields may span lines
    columns = [name.strip().lower() for name in next(reader, [])]
    if lacking := [column for column in required if column not in columns]:
        raise UserError(f"{file} lacks the columns {', '.join(lacking)}; it has {', '.join(columns) or 'none'}.")
    if twice := [column for column in columns if column and columns.count(column) > 1]:
        raise UserError(f"{file} has the column {twice[0]} twice: remove or rename one.")
    rows = []
    for fields in reader:
        if any(field.strip() for field in fields[len(columns) :]):
            raise UserError(f"{file}, line {reader.line_num}: {len(fields)} fields for {len(columns)} columns.")
        if any(field.strip() for field in fields):
            row = dict.fromkeys(columns, "") | dict(zip(columns, map(str.strip, fields), strict=False))
            rows.append((reader.line_num, row))
    return rows


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
