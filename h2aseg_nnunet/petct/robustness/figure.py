"""A picture of a report of robustness: Dice under every condition, case by case and on average."""

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from h2aseg_nnunet.petct import plots
from h2aseg_nnunet.petct.robustness.conditions import INTACT
from h2aseg_nnunet.petct.robustness.run import Robustness
from h2aseg_nnunet.petct.statistics import summarize

CASE, MEAN, INTACT_MEAN = "#8AA1B4", plots.BLUE, plots.GRAY
CONDITION_INCHES, HEIGHT_INCHES = 1.1, 4.0


def draw(robustness: Robustness, file: Path) -> None:
    """Draw one thin line per case with a lesion; the mean with its 95 % bootstrap interval on top.

    Raises:
        UserError: If the file cannot be written.
    """
    cases = [
        [robustness.values[condition.name][case]["dice"] for condition in robustness.conditions]
        for case, values in robustness.values[INTACT.name].items()
        if not math.isnan(values["dice"])  # which then is defined under every condition
    ]
    labels = [condition.description.replace(" ", "\n", 1) for condition in robustness.conditions]
    picture = plots.figure(CONDITION_INCHES * (len(labels) + 1), HEIGHT_INCHES)
    axes = picture.subplots()
    if cases:
        _draw_dice(axes, np.array(cases))
    axes.set_title(f"Cases with a lesion ({len(cases)}); mean and its 95 % interval", fontsize="small")
    axes.set_xticks(range(len(labels)), labels, fontsize="small")
    axes.set(xlim=(-0.4, len(labels) - 0.6), ylim=(-0.03, 1.03), ylabel="Dice")
    if any(condition.ct_shift_voxels for condition in robustness.conditions):
        axes.set_xlabel(f"shifts in voxels of {robustness.voxel_mm:.3g} mm", fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    plots.save(picture, file)


def _draw_dice(axes: Axes, dice: np.ndarray) -> None:
    """Draw Dice (cases, conditions)."""
    positions = np.arange(dice.shape[1])
    axes.plot(positions, dice.T, color=CASE, linewidth=0.8, alpha=0.8)
    summaries = [summarize(column.tolist()) for column in dice.T]
    means = np.array([summary["mean"] for summary in summaries])
    low, high = np.array([summary["interval_95"] for summary in summaries]).T
    axes.axhline(means[0], color=INTACT_MEAN, linewidth=0.8, linestyle="dashed")
    axes.errorbar(
        positions, means, [np.maximum(means - low, 0), np.maximum(high - means, 0)], color=MEAN, fmt="o-", capsize=4
    )
