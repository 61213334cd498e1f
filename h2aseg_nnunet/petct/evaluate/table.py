"""Writing an evaluation: JSON, CSV, and a table to read."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.petct import files, tables
from h2aseg_nnunet.petct.evaluate.protocols import find_protocol
from h2aseg_nnunet.petct.evaluate.run import Evaluation
from h2aseg_nnunet.petct.files import read_own_json, require_own
from h2aseg_nnunet.petct.tables import has_heading, number

FIRST_COLUMNS = ["case", "metrics"]
HEADING_WIDTH = 11
STATISTICS = ("mean", "median", "interval_95", "undefined")


def check_outputs(json_file: str | Path | None, csv_file: str | Path | None) -> None:
    """Make sure, before anything is computed, that only an earlier evaluation would be replaced.

    Raises:
        UserError: If a name has another ending, or the file exists and is no evaluation.
    """
    for name, ending, is_own in ((json_file, ".json", _is_evaluation), (csv_file, ".csv", _is_table)):
        if name is None:
            continue
        file = Path(name)
        if file.suffix.lower() != ending:
            raise UserError(f"{file} should end in {ending}.")
        require_own(file, is_own, "an evaluation")


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
    metrics = evaluation.aggregate["metrics"]
    rows = [[case, metrics, *map(values.get, columns)] for case, values in evaluation.cases.items()]
    tables.write_csv(file, FIRST_COLUMNS + columns, rows)


def to_text(evaluation: Evaluation) -> str:
    """Format cases, one line per value with its statistics, then what is pooled, left out, missing or extra."""
    columns = list(next(iter(evaluation.cases.values())))
    screen = find_protocol(evaluation.aggregate["metrics"]).screen
    shown = [column for column in columns if not screen or column in screen]
    cases = [[case, *(_short(values[column]) for column in shown)] for case, values in evaluation.cases.items()]
    summaries = [
        [column, *(_short(evaluation.aggregate[column][statistic]) for statistic in STATISTICS)] for column in columns
    ]
    blocks = [_align([["case", *shown], *cases]), _align([["over cases", *STATISTICS], *summaries])]
    return "\n\n".join([*blocks, *_pooled(evaluation.aggregate), *_notes(evaluation.aggregate)])


def _pooled(aggregate: Mapping[str, Any]) -> list[str]:
    """Format the figures of all cases together, if the protocol has any."""
    tables = []
    for pooled in find_protocol(aggregate["metrics"]).pooled:
        if pooled.name in aggregate:
            intervals = aggregate[f"{pooled.name}_interval_95"]
            rows = [[part, _short(value), _short(intervals[part])] for part, value in aggregate[pooled.name].items()]
            heading = "all cases together" if pooled.name == "pooled" else pooled.name
            tables.append(_align([[heading, "value", "interval_95"], *rows]))
    return tables


def _notes(aggregate: Mapping[str, Any]) -> list[str]:
    notes = []
    if aggregate.get("unjudged_cases"):
        cases = aggregate["unjudged_cases"]
        notes.append(
            f"With voxels that nobody judged (ignore label {aggregate['ignore_label']}), which are left out of every "
            f"measure: {len(cases)} ({listing(cases)})."
        )
    if "undeclared_values_up_to" in aggregate:
        highest = aggregate["undeclared_values_up_to"]
        notes.append(
            f"No dataset.json declares the masks' values: every value but 0, up to {highest}, counts as tumor. "
            "If one of them means something else, name the file with --dataset-json."
        )
    steps = find_protocol(aggregate["metrics"]).steps
    if aggregate.get("num_steps", steps) != steps:
        notes.append(f"{aggregate['num_steps']} interaction steps; the challenge has {steps}: areas differ by that.")
    missing, extra = aggregate["missing_predictions"], aggregate["extra_predictions"]
    if missing:
        fate = {"empty": "counted as empty", "skip": "left out"}[aggregate["missing_counted_as"]]
        notes.append(f"Without prediction, {fate}: {len(missing)} ({listing(missing)}).")
    if extra:
        notes.append(f"Without reference, left out: {len(extra)} ({listing(extra)}).")
    return notes


def _align(rows: Sequence[Sequence[str]]) -> str:
    """Align columns: names to the left, values to the right, the headings wrapped."""
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
    return str(value) if isinstance(value, int) else number(value, ".4f")


def _is_evaluation(file: Path) -> bool:
    content = read_own_json(file)
    return content is not None and content.keys() == set(Evaluation._fields)


def _is_table(file: Path) -> bool:
    return has_heading(file, FIRST_COLUMNS)
