"""Writing a comparison: JSON, CSV of cases, Markdown to read."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from h2aseg_nnunet import __version__
from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct import tables
from h2aseg_nnunet.petct.compare.collect import Comparison
from h2aseg_nnunet.petct.compare.figure import draw
from h2aseg_nnunet.petct.compare.heldout import HeldOut
from h2aseg_nnunet.petct.compare.training_runs import Run
from h2aseg_nnunet.petct.files import read_own_json, write_json, write_text
from h2aseg_nnunet.petct.measures import KEYS, MEASURES, Measure
from h2aseg_nnunet.petct.statistics import Difference
from h2aseg_nnunet.petct.tables import number

ENDINGS = (".json", ".csv", ".md", ".png")


def check_outputs(files: Path, run: Run) -> None:
    """Make sure, before anything runs, that only an earlier table of the same comparison would be replaced.

    Args:
        files: Common name of the files, without ending.
        run: Any run of the comparison.

    Raises:
        UserError: If not.
    """
    if files.parent.is_file():
        raise UserError(f"{files.parent} is a file: choose another folder with -o.")
    there = [file for file in (_with(files, ending) for ending in ENDINGS) if file.exists()]
    if not there:
        return
    try:
        about = (read_own_json(_with(files, ".json")) or {})["about"]
        found = about["dataset"], about["configuration"]
    except (KeyError, TypeError):
        raise UserError(f"{there[0]} is not of a comparison: choose another folder with -o.") from None
    if found != (run.dataset, run.configuration):
        raise UserError(f"{there[0]} is a comparison on {' '.join(map(str, found))}: choose another folder with -o.")


def write(comparison: Comparison, runs: Sequence[Run], files: Path, heldout: HeldOut | None = None) -> str:
    """Write all files, each whole or not there; return the Markdown.

    Args:
        comparison: What is written.
        runs: All runs, finished or not.
        files: Common name of the files, without ending.
        heldout: The held-out cases; None if the cases are the folds' own.
    """
    text = to_markdown(comparison, runs, heldout)
    _write_json(comparison, runs, heldout, _with(files, ".json"))
    _write_csv(comparison, _with(files, ".csv"))
    write_text(_with(files, ".md"), text)
    if comparison.pairs:
        draw(comparison, _with(files, ".png"))
    return text


def to_markdown(comparison: Comparison, runs: Sequence[Run], heldout: HeldOut | None = None) -> str:
    """Format tables of accuracy, differences and costs, and what is missing."""
    run = runs[0]
    seeds, folds = (sorted({getattr(each, name) for each in runs}) for name in ("seed", "fold"))
    parts = [
        f"# {run.dataset}, {run.configuration}",
        f"{run.epochs} epochs of {run.iterations} iterations; folds {_listing(folds)}; seeds {_listing(seeds)}. "
        + (_heldout_sentence(heldout) if heldout else "Each fold's validation cases. ")
        + "A case is the unit: its values are averaged over seeds. In brackets: 95 % bootstrap interval of the mean.",
        tables.to_markdown(
            ["trainer", "runs", "cases", *(f"mean {measure.name}" for measure in MEASURES)],
            [_accuracy_row(comparison, label) for label in comparison.trainers],
        ),
        *_difference_parts(comparison),
        "## Costs",
        tables.to_markdown(
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
    values = [measure.show(trainer.summary[measure.key]) for measure in MEASURES]
    return [label, f"{trainer.num_finished}/{trainer.num_planned}", str(trainer.num_cases), *values]


def _difference_parts(comparison: Comparison) -> list[str]:
    if not comparison.differences:
        return []
    rows = [
        _difference_row(label, measure, by_measure[measure.key])
        for measure in MEASURES
        for label, by_measure in comparison.differences.items()
    ]
    heading = ["trainer", "", "mean difference", "cases", "more / equal / less", "Wilcoxon p", "p (Holm)"]
    return [
        f"## Paired differences from {comparison.reference}",
        tables.to_markdown(heading, rows),
        "Positive is better for Dice, worse for the volumes. Without a lesion, Dice and FNV are undefined.",
    ]


def _difference_row(label: str, measure: Measure, difference: Difference) -> list[str]:
    equal = difference.num_cases - difference.larger - difference.smaller
    return [
        label,
        measure.name,
        measure.show(difference._asdict(), sign="+"),
        str(difference.num_cases),
        f"{difference.larger} / {equal} / {difference.smaller}",
        number(difference.wilcoxon_p, ".3g"),
        number(difference.holm_p, ".3g"),
    ]


def _cost_row(label: str, costs: Mapping[str, Any]) -> list[str]:
    memory, patch = costs["peak_memory_bytes"], costs["patch_size"]
    return [
        label,
        number(costs["parameters"], ",.0f"),
        number(costs["seconds_per_iteration"], ".3g"),
        number(None if memory is None else memory / 2**30, ".2f"),
        "-" if patch is None else f"{' x '.join(map(str, patch))}, {costs['batch_size']}",
    ]


def _hardware(comparison: Comparison) -> str:
    devices = sorted({each["device"] for trainer in comparison.trainers.values() for each in trainer.surroundings})
    warning = " Not all runs had the same device: compare times with care." if len(devices) > 1 else ""
    return f"Measured during training on {_listing(devices)}; time without waiting for data.{warning}"


def _with(files: Path, ending: str) -> Path:
    return files.with_name(files.name + ending)  # with_suffix would take a dot in the name for an ending


def _listing(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))


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
    rows = [
        [case.trainer, case.seed, case.folds, case.case, *(case.values[key] for key in KEYS)]
        for case in comparison.cases
    ]
    tables.write_csv(file, ["trainer", "seed", "folds", "case", *KEYS], rows)
