"""docs/images/accuracy.png, drawn by `python -m studies.tables`: Dice of every patient and differences."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from PIL import Image

from h2aseg_nnunet.petct import plots
from h2aseg_nnunet.petct.files import replacing
from h2aseg_nnunet.petct.statistics import paired_differences, summarize
from studies.results import NETWORKS, by_case, fingerprint

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "accuracy.png"
DRAWN_FROM = "Drawn from"
"""Key of the results' fingerprint among the picture's texts."""


def draw(tables: Sequence[pd.DataFrame], picture: Path = PICTURE) -> None:
    """For each table of networks, a row per network: a dot per patient, the mean and its 95 % interval."""
    sizes = [table.trainer.nunique() for table in tables]
    figure = plots.figure(10, 0.9 * len(tables) + 0.42 * sum(sizes))
    panels = figure.subplots(len(tables), 2, squeeze=False, sharex="col", sharey="row", height_ratios=sizes)
    for (left, right), table in zip(panels, tables, strict=True):
        _draw_table(left, right, by_case(table))
    with replacing(picture) as temporary:
        figure.savefig(temporary, dpi=plots.DPI, format="png", metadata={DRAWN_FROM: fingerprint()})


def _draw_table(left: Axes, right: Axes, dice: dict[str, dict[str, float]]) -> None:
    """Dice on the left; on the right its differences from the network of the first row."""
    reference, *_ = dice
    for row, (trainer, cases) in enumerate(dice.items()):
        _draw_row(left, row, cases)
        if trainer != reference:
            _draw_row(right, row, paired_differences(dice[reference], cases))
    left.set_xlabel("Dice")
    right.set_xlabel(f"difference of Dice from {NETWORKS[reference]}")
    right.axvline(0, color=plots.GRAY, linewidth=0.8)
    right.locator_params(axis="x", nbins=6)
    left.set_yticks(range(len(dice)), [NETWORKS[trainer] for trainer in dice])
    left.set_ylim(len(dice) - 0.5, -0.5)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)


def faults(picture: Path = PICTURE) -> list[str]:
    """Nothing, or a line saying that the picture is of other results."""
    with Image.open(picture) as image:
        drawn_from = image.info.get(DRAWN_FROM)
    if drawn_from == fingerprint():
        return []
    return [f"{picture.name} was drawn from other results: run `python -m studies.tables`."]


def _draw_row(axes: Axes, row: int, cases: Mapping[str, float]) -> None:
    values = list(cases.values())
    summary = summarize(values)
    axes.plot(values, [row] * len(values), "o", color=plots.BLUE, alpha=0.3, markersize=5, markeredgewidth=0)
    axes.plot(summary["interval_95"], [row, row], color="black", linewidth=1.5)
    axes.plot([summary["mean"]], [row], "D", color="black", markersize=5)
