"""Writing an evaluation: JSON, CSV, and a table to read."""

import csv
import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.petct import files
from h2aseg_nnunet.petct.evaluate.run import Evaluation
from h2aseg_nnunet.petct.files import replacing

FIRST_COLUMNS = ["case", "metrics"]
HEADING_WIDTH = 11
STATISTICS = ("mean", "median", "interval_95", "undefined")


def check_outputs(json_file: str | Path | None, csv_file: str | Path | None) -> None:
    """Make sure, before anything is computed, that only an earlier evaluation would be replaced.

    Raises:
        UserError: If a name has another ending, or the file exists and is no evaluation.
    """
    for name, ending, is_evaluation in ((json_file, ".json", _is_json), (csv_file, ".csv", _is_csv)):
        if name is None:
            continue
        file = Path(name)
        if file.suffix.lower() != ending:
            raise UserError(f"{file} should end in {ending}.")
        if file.exists() and not is_evaluation(file):
            raise UserError(f"{file} exists and is no evaluation: it is left as it is, choose another name.")


def write(evaluation: Evaluation, json_file: str | Path | None, csv_file: str | Path | None) -> None:
    """Write the files that are named; each is whole or not there."""
    if json_file is not None:
        write_json(evaluation, Path(json_file))
    if csv_file is not None:
        write_csv(evaluation, Path(csv_file))


def write_json(evaluation: Evaluation, file: Path) -> None:
    """Write `{"cases": {case: {...}}, "aggregate": {...}}`; undefined values are null."""
    files.write_json(file, evaluation._asdict())


def write_csv(evaluation: Evaluation, file: Path) -> None:
    """Write one row per case; undefined values are empty."""
    columns = list(next(iter(evaluation.cases.values())))
    with replacing(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(FIRST_COLUMNS + columns)
        for case, values in evaluation.cases.items():
            row = ["" if math.isnan(values[column]) else values[column] for column in columns]
            table.writerow([case, evaluation.aggregate["metrics"], *row])


def to_text(evaluation: Evaluation) -> str:
    """Cases, then one line per value with its statistics, then what is pooled, missing or extra."""
    columns = list(next(iter(evaluation.cases.values())))
    cases = [[case, *map(_short, values.values())] for case, values in evaluation.cases.items()]
    summaries = [
        [column, *(_short(evaluation.aggregate[column][statistic]) for statistic in STATISTICS)] for column in columns
    ]
    blocks = [_align([["case", *columns], *cases]), _align([["over cases", *STATISTICS], *summaries])]
    return "\n\n".join([*blocks, *_pooled(evaluation.aggregate), *_notes(evaluation.aggregate)])


def _pooled(aggregate: Mapping[str, Any]) -> list[str]:
    """The figure of all cases together, if the protocol has one."""
    tables = []
    for figure in ("aggregated_dice", "pooled"):
        if figure in aggregate:
            intervals = aggregate[f"{figure}_interval_95"]
            rows = [[part, _short(value), _short(intervals[part])] for part, value in aggregate[figure].items()]
            tables.append(
                _align([["all cases together" if figure == "pooled" else figure, "value", "interval_95"], *rows])
            )
    return tables


def _notes(aggregate: Mapping[str, Any]) -> list[str]:
    notes = []
    missing, extra = aggregate["missing_predictions"], aggregate["extra_predictions"]
    if missing:
        fate = {"empty": "counted as empty", "skip": "left out"}[aggregate["missing_counted_as"]]
        notes.append(f"Without prediction, {fate}: {len(missing)} ({listing(missing)}).")
    if extra:
        notes.append(f"Without reference, left out: {len(extra)} ({listing(extra)}).")
    return notes


def _align(rows: Sequence[Sequence[str]]) -> str:
    """Rows with columns aligned: names to the left, values to the right, the headings wrapped."""
    headings = [textwrap.wrap(name.replace("_", " "), HEADING_WIDTH) for name in rows[0]]
    height = max(map(len, headings))
    top = zip(*([""] * (height - len(lines)) + lines for lines in headings), strict=True)
    lines = [*map(list, top), *rows[1:]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(map(str.rjust, line[1:], widths[1:]))]).rstrip() for line in lines
    )


def _short(value: float | Sequence[float]) -> str:
    if isinstance(value, Sequence):
        return "-" if math.isnan(value[0]) else " to ".join(map(_short, value))
    if isinstance(value, int):
        return str(value)
    return "-" if math.isnan(value) else f"{value:.4f}"


def _is_json(file: Path) -> bool:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:  # also what is no text
        return False
    return isinstance(content, dict) and content.keys() == set(Evaluation._fields)


def _is_csv(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.readline().startswith(",".join(FIRST_COLUMNS).encode())
