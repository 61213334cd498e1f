"""Pictures of a fit: the gain of each family, and what the rule trades along its family."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from h2aseg_nnunet.petct import plots
from h2aseg_nnunet.petct.postprocess.rules import NO_RULE, Rule
from h2aseg_nnunet.petct.tune.run import Tuned
from h2aseg_nnunet.petct.tune.select import Judged

WIDTH_INCHES, FAMILY_INCHES = 11.0, 0.26


def draw(tuned: Tuned, file: Path) -> None:
    """Draw the gain of every family with its interval, and false-positive against missed volume.

    Raises:
        UserError: If the file cannot be written.
    """
    selection = tuned.selection
    judged = [*sorted(selection.families, key=lambda each: each.gain.mean), selection.chosen]
    picture = plots.figure(WIDTH_INCHES, max(3.5, FAMILY_INCHES * len(judged)))
    left, right = picture.subplots(1, 2)
    _draw_gains(left, judged, tuned.metric)
    _draw_path(right, tuned)
    plots.save(picture, file)


def _draw_gains(axes: Axes, judged: list[Judged], metric: str) -> None:
    positions = np.arange(len(judged))
    means = np.array([each.gain.mean for each in judged])
    low, high = np.array([each.gain.interval_95 for each in judged]).T
    colors = [plots.BLUE if each.is_certain else plots.GRAY for each in judged]
    axes.axvline(0, color="black", linewidth=0.8)
    axes.hlines(positions, low, high, colors=colors, linewidth=2)
    axes.scatter(means, positions, c=colors, zorder=3)
    axes.set_yticks(positions, [each.name for each in judged], fontsize="small")
    axes.get_yticklabels()[-1].set_fontweight("bold")
    axes.set_xlabel(f"gain of {metric} on left-out patients, 95 % interval", fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_path(axes: Axes, tuned: Tuned) -> None:
    """All rules of the family; the one that was fitted, and no rule."""
    selection = tuned.selection
    axes.set_xlabel("false-negative volume, mean (ml)", fontsize="small")
    axes.set_ylabel("false-positive volume, mean (ml)", fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    if selection.family is None:
        axes.set_title("no family gains anything", fontsize="small")
    if _has_one_number([rule for rule, _, _ in selection.path]):
        _, false, missed = zip(*selection.path, strict=True)
        axes.plot(missed, false, color=plots.GRAY, linewidth=0.8)
    for rule, false_ml, missed_ml in selection.path:
        axes.scatter(missed_ml, false_ml, s=14, color=plots.GRAY)
        if rule == NO_RULE:
            axes.scatter(missed_ml, false_ml, s=60, color=plots.VERMILION, label="no rule", zorder=3)
        elif rule == selection.chosen.rule:
            label = f"fitted to all: {rule.describe()}"
            axes.scatter(missed_ml, false_ml, s=60, color=plots.BLUE, label=label, zorder=3)
    if selection.path:
        axes.legend(fontsize="x-small", frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))


def _has_one_number(rules: Sequence[Rule]) -> bool:
    """Whether the rules of a family differ in one number, from gentle to harsh, so that they lie along a line."""
    kinds = {(rule.outline.kind, rule.outline.reach_mm, len(rule.conditions)) for rule in rules if rule != NO_RULE}
    numbers = [(r.outline.kind != "own") + len(r.conditions) + (r.least_total_ml > 0) for r in rules]
    return len(kinds) == 1 and max(numbers) == 1
