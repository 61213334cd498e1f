"""Writing a report of robustness: JSON, CSV of cases and conditions, Markdown to read, and a picture."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from h2aseg_nnunet import __version__
from h2aseg_nnunet.errors import listing
from h2aseg_nnunet.petct.compare.collect import MEASURES
from h2aseg_nnunet.petct.compare.text import NAMES, markdown_table
from h2aseg_nnunet.petct.files import replacing, write_json
from h2aseg_nnunet.petct.robustness.conditions import INTACT, Condition
from h2aseg_nnunet.petct.robustness.figure import draw
from h2aseg_nnunet.petct.robustness.run import Robustness
from h2aseg_nnunet.petct.statistics import describe, paired_differences, summarize

STATISTICS = ("mean", "median", "interval_95", "num_cases", "larger", "smaller")
"""Of a paired difference; a test would only ask whether the network reads its input at all."""


def write(robustness: Robustness, folder: Path) -> str:
    """Write robustness.json, .csv, .md and .png, each whole or not there; returns the Markdown."""
    text = to_markdown(robustness)
    _write_json(robustness, folder / "robustness.json")
    _write_csv(robustness, folder / "robustness.csv")
    with replacing(folder / "robustness.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    draw(robustness, folder / "robustness.png")
    return text


def summarize_condition(robustness: Robustness, condition: Condition, measure: str) -> dict[str, Any]:
    """Mean, median and 95 % interval over cases."""
    return summarize([values[measure] for values in robustness.values[condition.name].values()])


def difference_from_intact(robustness: Robustness, condition: Condition, measure: str) -> dict[str, Any]:
    """Condition minus intact input, over the cases in which both are defined."""
    intact, altered = (
        {case: values[measure] for case, values in robustness.values[name].items()}
        for name in (INTACT.name, condition.name)
    )
    difference = describe(list(paired_differences(intact, altered).values()))._asdict()
    return {name: difference[name] for name in STATISTICS}


def to_markdown(robustness: Robustness) -> str:
    """Tables of means, and of differences from the intact input."""
    settings, intact = robustness.settings, robustness.values[INTACT.name]
    no_dice = sum(math.isnan(values["dice"]) for values in intact.values())
    parts = [
        f"# Robustness of {Path(settings.model).name}",
        f"Cases of {settings.images}: {len(intact)}; fold {', '.join(settings.folds)}, {settings.checkpoint}, "
        f"{'with' if settings.mirroring else 'without'} mirroring, step size {settings.step_size:g}. Images are "
        "altered after nnU-Net's preprocessing: a missing modality is its mean everywhere; CT is shifted within "
        f"slices, in voxels of {robustness.voxel_mm:.3g} mm. In brackets: 95 % bootstrap interval of the mean.",
        markdown_table(
            ["input", *(f"mean {NAMES[measure]}" for measure in MEASURES)],
            [
                [each.description, *(_shown(summarize_condition(robustness, each, name), name) for name in MEASURES)]
                for each in robustness.conditions
            ],
        ),
        "## Paired differences from the intact input",
        markdown_table(
            ["input", *(NAMES[measure] for measure in MEASURES), "Dice worse / equal / better"],
            [_difference_row(robustness, each) for each in robustness.conditions[1:]],
        ),
    ]
    if no_dice:
        parts.append(f"Cases without a lesion in the reference, which have no Dice and no FNV: {no_dice}.")
    if robustness.left_out:
        parts.append(f"Without reference, left out: {len(robustness.left_out)} ({listing(robustness.left_out)}).")
    return "\n\n".join(parts) + "\n"


def _difference_row(robustness: Robustness, condition: Condition) -> list[str]:
    differences = {name: difference_from_intact(robustness, condition, name) for name in MEASURES}
    dice = differences["dice"]
    equal = dice["num_cases"] - dice["larger"] - dice["smaller"]
    return [
        condition.description,
        *(_shown(difference, name, sign="+") for name, difference in differences.items()),
        f"{dice['smaller']} / {equal} / {dice['larger']}",
    ]


def _shown(statistics: Mapping[str, Any], measure: str, sign: str = "") -> str:
    if math.isnan(statistics["mean"]):
        return "-"
    digits = f"{sign}.3f" if measure == "dice" else f"{sign}.2f"
    low, high = statistics["interval_95"]
    return f"{statistics['mean']:{digits}} [{low:{digits}}, {high:{digits}}]"


def _write_json(robustness: Robustness, file: Path) -> None:
    conditions = {
        condition.name: condition._asdict()
        | {"summary": {name: summarize_condition(robustness, condition, name) for name in MEASURES}}
        | {"difference_from_intact": {name: difference_from_intact(robustness, condition, name) for name in MEASURES}}
        for condition in robustness.conditions
    }
    about = robustness.settings._asdict() | {
        "references": robustness.references,
        "voxel_mm": robustness.voxel_mm,
        "left_out": robustness.left_out,
        "h2aseg_nnunet": __version__,
    }
    write_json(file, {"about": about, "conditions": conditions, "cases": robustness.values})


def _write_csv(robustness: Robustness, file: Path) -> None:
    with replacing(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["case", "condition", *MEASURES])
        for case in robustness.values[INTACT.name]:
            for condition in robustness.conditions:
                values = robustness.values[condition.name][case]
                row = ["" if math.isnan(values[name]) else values[name] for name in MEASURES]
                table.writerow([case, condition.name, *row])
