"""Writing what altered inputs cost: JSON, CSV of cases and conditions, Markdown to read, and a picture."""

import math
from pathlib import Path
from typing import Any

from h2aseg_nnunet import __version__
from h2aseg_nnunet.errors import listing
from h2aseg_nnunet.petct import tables
from h2aseg_nnunet.petct.files import write_json, write_text
from h2aseg_nnunet.petct.measures import KEYS, MEASURES, Measure
from h2aseg_nnunet.petct.robustness.conditions import INTACT, Condition
from h2aseg_nnunet.petct.robustness.figure import draw
from h2aseg_nnunet.petct.robustness.run import Robustness
from h2aseg_nnunet.petct.statistics import describe, paired_differences, summarize

STATISTICS = ("mean", "median", "interval_95", "num_cases", "larger", "smaller")
"""What is reported of a paired difference. A test would only ask whether the network reads its input at all."""


def write(robustness: Robustness, folder: str | Path) -> str:
    """Write robustness.json, .csv, .md and .png, each whole or not there; return the Markdown."""
    folder, text = Path(folder), to_markdown(robustness)
    _write_json(robustness, folder / "robustness.json")
    _write_csv(robustness, folder / "robustness.csv")
    write_text(folder / "robustness.md", text)
    draw(robustness, folder / "robustness.png")
    return text


def summarize_condition(robustness: Robustness, condition: Condition, measure: Measure) -> dict[str, Any]:
    """Return mean, median and 95 % interval over cases."""
    return summarize([values[measure.key] for values in robustness.values[condition.name].values()])


def difference_from_intact(robustness: Robustness, condition: Condition, measure: Measure) -> dict[str, Any]:
    """Describe condition minus intact input, over the cases in which both are defined."""
    intact, altered = (
        {case: values[measure.key] for case, values in robustness.values[name].items()}
        for name in (INTACT.name, condition.name)
    )
    difference = describe(list(paired_differences(intact, altered).values()))._asdict()
    return {name: difference[name] for name in STATISTICS}


def to_markdown(robustness: Robustness) -> str:
    """Format tables of means, and of differences from the intact input."""
    settings, intact = robustness.settings, robustness.values[INTACT.name]
    no_dice = sum(math.isnan(values["dice"]) for values in intact.values())
    parts = [
        f"# Robustness of {Path(settings.model).name}",
        f"Cases of {settings.images}: {len(intact)}; fold {', '.join(settings.folds)}, {settings.checkpoint}, "
        f"{'with' if settings.mirroring else 'without'} mirroring, step size {settings.step_size:g}. Images are "
        "altered after nnU-Net's preprocessing: a missing modality is its mean everywhere; CT is shifted within "
        f"slices, in voxels of {robustness.voxel_mm:.3g} mm. In brackets: 95 % bootstrap interval of the mean.",
        tables.to_markdown(
            ["input", *(f"mean {measure.name}" for measure in MEASURES)],
            [_mean_row(robustness, condition) for condition in robustness.conditions],
        ),
        "## Paired differences from the intact input",
        tables.to_markdown(
            ["input", *(measure.name for measure in MEASURES), "Dice worse / equal / better"],
            [_difference_row(robustness, condition) for condition in robustness.conditions[1:]],
        ),
    ]
    if no_dice:
        parts.append(f"Cases without a lesion in the reference, which have no Dice and no FNV: {no_dice}.")
    if robustness.left_out:
        parts.append(f"Without reference, left out: {len(robustness.left_out)} ({listing(robustness.left_out)}).")
    if robustness.failed:
        parts.append(f"Not predicted, left out: {len(robustness.failed)} ({listing(sorted(robustness.failed))}).")
    return "\n\n".join(parts) + "\n"


def _mean_row(robustness: Robustness, condition: Condition) -> list[str]:
    means = [measure.show(summarize_condition(robustness, condition, measure)) for measure in MEASURES]
    return [condition.description, *means]


def _difference_row(robustness: Robustness, condition: Condition) -> list[str]:
    differences = {measure: difference_from_intact(robustness, condition, measure) for measure in MEASURES}
    dice = differences[MEASURES[0]]
    equal = dice["num_cases"] - dice["larger"] - dice["smaller"]
    return [
        condition.description,
        *(measure.show(difference, sign="+") for measure, difference in differences.items()),
        f"{dice['smaller']} / {equal} / {dice['larger']}",
    ]


def _write_json(robustness: Robustness, file: Path) -> None:
    conditions = {
        condition.name: condition._asdict()
        | {"summary": {each.key: summarize_condition(robustness, condition, each) for each in MEASURES}}
        | {
            "difference_from_intact": {
                each.key: difference_from_intact(robustness, condition, each) for each in MEASURES
            }
        }
        for condition in robustness.conditions
    }
    about = robustness.settings._asdict() | {
        "references": robustness.references,
        "voxel_mm": robustness.voxel_mm,
        "left_out": robustness.left_out,
        "failed": robustness.failed,
        "h2aseg_nnunet": __version__,
    }
    write_json(file, {"about": about, "conditions": conditions, "cases": robustness.values})


def _write_csv(robustness: Robustness, file: Path) -> None:
    rows = [
        [case, condition.name, *(robustness.values[condition.name][case][key] for key in KEYS)]
        for case in robustness.values[INTACT.name]
        for condition in robustness.conditions
    ]
    tables.write_csv(file, ["case", "condition", *KEYS], rows)
