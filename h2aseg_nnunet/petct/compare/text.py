"""Writing a comparison: JSON, CSV of cases, Markdown to read."""

import csv
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from h2aseg_nnunet import __version__
from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.compare.collect import MEASURES, Comparison
from h2aseg_nnunet.petct.compare.figure import draw
from h2aseg_nnunet.petct.compare.heldout import HeldOut
from h2aseg_nnunet.petct.compare.runs import Run
from h2aseg_nnunet.petct.files import replacing, write_json
from h2aseg_nnunet.petct.statistics import Difference

ENDINGS = (".json", ".csv", ".md", ".png")
NAMES = {
    "dice": "Dice",
    "false_positive_volume_ml": "FPV (ml)",
    "false_negative_volume_ml": "FNV (ml)",
}


def check_outputs(files: Path, run: Run) -> None:
    """Make sure, before anything runs, that only an earlier table of the same comparison would be replaced.

    Args:
        files: Their common name, without ending.
        run: Any of the comparison.

    Raises:
        UserError: If not.
    """
    there = [file for file in (_with(files, ending) for ending in ENDINGS) if file.exists()]
    if not there:
        return
    try:
        about = json.loads(_with(files, ".json").read_text(encoding="utf-8"))["about"]
        found = about["dataset"], about["configuration"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{there[0]} is of no comparison: choose another folder with -o.") from None
    if found != (run.dataset, run.configuration):
        raise UserError(f"{there[0]} is a comparison on {' '.join(found)}: choose another folder with -o.")


def write(comparison: Comparison, runs: Sequence[Run], files: Path, heldout: HeldOut | None = None) -> str:
    """Write all files, each whole or not there; returns the Markdown.

    Args:
        comparison: To be written.
        runs: All, finished or not.
        files: Their common name, without ending.
        heldout: The cases, where they are not the folds' own.
    """
    text = to_markdown(comparison, runs, heldout)
    _write_json(comparison, runs, heldout, _with(files, ".json"))
    _write_csv(comparison, _with(files, ".csv"))
    with replacing(_with(files, ".md")) as temporary:
        temporary.write_text(text, encoding="utf-8")
    if comparison.pairs:
        draw(comparison, _with(files, ".png"))
    return text


def to_markdown(comparison: Comparison, runs: Sequence[Run], heldout: HeldOut | None = None) -> str:
    """Tables of accuracy, differences and costs, and what is missing."""
    run = runs[0]
    seeds, folds = (sorted({getattr(each, name) for each in runs}) for name in ("seed", "fold"))
    parts = [
        f"# {run.dataset}, {run.configuration}",
        f"{run.epochs} epochs of {run.iterations} iterations; folds {_listing(folds)}; seeds {_listing(seeds)}. "
        + (_heldout_sentence(heldout) if heldout else "Each fold's validation cases. ")
        + "A case is the unit: its values are averaged over seeds. In brackets: 95 % bootstrap interval of the mean.",
        markdown_table(
            ["trainer", "runs", "cases", *(f"mean {NAMES[measure]}" for measure in MEASURES)],
            [_accuracy_row(comparison, label) for label in comparison.trainers],
        ),
        *_difference_parts(comparison),
        "## Costs",
        markdown_table(
            ["trainer", "parameters", "seconds per iteration", "peak memory (GiB)", "patch x batch"],
            [_cost_row(label, trainer.costs) for label, trainer in comparison.trainers.items()],
        ),
        _hardware(comparison),
    ]
    if comparison.missing:
        parts += ["## Missing", "\n".join(f"- {name} (log: {log})" for name, log in comparison.missing.items())]
    return "\n\n".join(parts) + "\n"


def _heldout_sentence(heldout: HeldOut) -> str:
    mirroring = "" if heldout.mirroring else ", without mirroring"
    return f"Held-out cases of {heldout.images}, by the folds together{mirroring}. "


def _accuracy_row(comparison: Comparison, label: str) -> list[str]:
    trainer = comparison.trainers[label]
    values = [_with_interval(trainer.summary[measure], _digits(measure)) for measure in MEASURES]
    return [label, f"{trainer.num_finished}/{trainer.num_planned}", str(trainer.num_cases), *values]


def _difference_parts(comparison: Comparison) -> list[str]:
    if not comparison.differences:
        return []
    rows = [
        _difference_row(label, measure, by_measure[measure])
        for measure in MEASURES
        for label, by_measure in comparison.differences.items()
    ]
    heading = ["trainer", "", "mean difference", "cases", "more / equal / less", "Wilcoxon p", "p (Holm)"]
    return [
        f"## Paired differences from {comparison.reference}",
        markdown_table(heading, rows),
        "Positive is better for Dice, worse for the volumes. Without a lesion, Dice and FNV are undefined.",
    ]


def _difference_row(label: str, measure: str, difference: Difference) -> list[str]:
    equal = difference.num_cases - difference.larger - difference.smaller
    return [
        label,
        NAMES[measure],
        _with_interval(difference._asdict(), _digits(measure), sign="+"),
        str(difference.num_cases),
        f"{difference.larger} / {equal} / {difference.smaller}",
        _number(difference.wilcoxon_p, ".3g"),
        _number(difference.holm_p, ".3g"),
    ]


def _cost_row(label: str, costs: Mapping[str, Any]) -> list[str]:
    memory, patch = costs["peak_memory_bytes"], costs["patch_size"]
    return [
        label,
        _number(costs["parameters"], ",.0f"),
        _number(costs["seconds_per_iteration"], ".3g"),
        _number(None if memory is None else memory / 2**30, ".2f"),
        "-" if patch is None else f"{' x '.join(map(str, patch))}, {costs['batch_size']}",
    ]


def _hardware(comparison: Comparison) -> str:
    devices = sorted({each["device"] for trainer in comparison.trainers.values() for each in trainer.surroundings})
    warning = " Not all runs had the same device: compare times with care." if len(devices) > 1 else ""
    return f"Measured during training on {_listing(devices)}; time without waiting for data.{warning}"


def _with(files: Path, ending: str) -> Path:
    return files.with_name(files.name + ending)  # with_suffix would take a dot in the name for an ending


def _digits(measure: str) -> str:
    return ".4f" if measure == "dice" else ".2f"


def _with_interval(summary: Mapping[str, Any], digits: str, sign: str = "") -> str:
    low, high = summary["interval_95"]
    mean = _number(summary["mean"], sign + digits)
    return mean if mean == "-" else f"{mean} [{low:{sign}{digits}}, {high:{sign}{digits}}]"


def _number(value: float | None, digits: str) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:{digits}}"


def _listing(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))


def markdown_table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown, its columns aligned to be read as it is."""
    lines = [list(heading), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(map(str.ljust, line, widths))} |" for line in lines)


def _write_json(comparison: Comparison, runs: Sequence[Run], heldout: HeldOut | None, file: Path) -> None:
    run = runs[0]
    content = {
        "about": {
            "dataset": run.dataset,
            "configuration": run.configuration,
            "schedule": run.schedule,
            "heldout": heldout._asdict() if heldout else None,
            "reference": comparison.reference,
            "h2aseg_nnunet": __version__,
            "commands": [shlex.join(["h2aseg", *each.arguments()]) for each in runs],
        },
        "trainers": {label: trainer._asdict() for label, trainer in comparison.trainers.items()},
        "differences": {
            label: {measure: difference._asdict() for measure, difference in by_measure.items()}
            for label, by_measure in comparison.differences.items()
        },
        "missing": list(comparison.missing),
    }
    write_json(file, content)


def _write_csv(comparison: Comparison, file: Path) -> None:
    with replacing(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["trainer", "seed", "folds", "case", *MEASURES])
        for row in comparison.cases:
            values = ["" if math.isnan(row.values[measure]) else row.values[measure] for measure in MEASURES]
            table.writerow([row.trainer, row.seed, row.folds, row.case, *values])
