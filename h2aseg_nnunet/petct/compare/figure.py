"""Pictures of a comparison: each case's Dice by both trainers, and their differences."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from h2aseg_nnunet.petct import plots
from h2aseg_nnunet.petct.compare.collect import Comparison
from h2aseg_nnunet.petct.statistics import Difference, paired_differences

BETTER, WORSE, EQUAL = plots.BLUE, plots.VERMILION, plots.GRAY

PANEL_INCHES = 3.6


def draw(comparison: Comparison, file: Path) -> None:
    """Draw a column per trainer: Dice of each case over the reference's, and the differences in order of size.

    Raises:
        UserError: If the file cannot be written.
    """
    columns = len(comparison.pairs)
    picture = plots.figure(PANEL_INCHES * max(columns, 1.3), 2 * PANEL_INCHES)
    axes = picture.subplots(2, columns, squeeze=False, sharey="row")
    for (label, by_measure), (above, below) in zip(comparison.pairs.items(), axes.T, strict=True):
        reference, other = by_measure["dice"]
        differences = paired_differences(reference, other)
        before = np.array([reference[case] for case in differences])
        after = np.array([other[case] for case in differences])
        _scatter(above, before, after, comparison.reference, label)
        _in_order(below, np.array(list(differences.values())), comparison.differences[label]["dice"])
    axes[1, 0].set_ylabel(f"Dice \N{MINUS SIGN} Dice of {comparison.reference}", fontsize="small")
    plots.save(picture, file)


def _scatter(axes: Axes, before: NDArray, after: NDArray, reference: str, label: str) -> None:
    axes.plot([0, 1], [0, 1], color=EQUAL, linewidth=0.8)
    axes.scatter(before, after, s=18, c=_colors(after - before), edgecolor="white", linewidth=0.4, zorder=3)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    axes.set_xlabel(f"Dice, {reference}", fontsize="small")
    axes.set_ylabel(f"Dice, {label}", fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)


def _in_order(axes: Axes, differences: NDArray, summary: Difference) -> None:
    """Draw differences from smallest to largest, with their mean and its interval."""
    ordered = np.sort(differences)
    positions = np.arange(1, len(ordered) + 1)
    axes.axhline(0, color=EQUAL, linewidth=0.8)
    if len(ordered):
        axes.axhspan(*summary.interval_95, color="#DDE3E8", linewidth=0)
        axes.axhline(summary.mean, color="black", linewidth=1, linestyle="dashed")
        low, high = summary.interval_95
        axes.set_title(f"mean {summary.mean:+.3f} [{low:+.3f}, {high:+.3f}]", fontsize="small")
    axes.vlines(positions, 0, ordered, colors=_colors(ordered), linewidth=1)
    axes.scatter(positions, ordered, s=14, c=_colors(ordered), zorder=3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("cases, in order of their difference", fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)


def _colors(differences: NDArray) -> list[str]:
    return [BETTER if value > 0 else WORSE if value < 0 else EQUAL for value in differences]
