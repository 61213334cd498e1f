"""docs/images/accuracy.png, drawn by `python -m studies.tables`: Dice of every patient, and minus the U-Net's."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from PIL import Image

from h2aseg_nnunet.petct import plots
from h2aseg_nnunet.petct.files import replacing
from h2aseg_nnunet.petct.statistics import paired_differences, summarize
from studies.results import NETWORKS, UNET, by_case, fingerprint

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "accuracy.png"
DRAWN_FROM = "Drawn from"
"""Key of the results' fingerprint among the picture's texts."""


def draw(runs: pd.DataFrame, picture: Path = PICTURE) -> None:
    """A row per network: a dot per patient, the mean and its 95 % interval."""
    dice = by_case(runs)
    figure = plots.figure(10, 0.9 + 0.42 * len(NETWORKS))
    left, right = figure.subplots(1, 2, sharey=True)
    for row, trainer in enumerate(NETWORKS):
        _row(left, row, dice[trainer])
        if trainer != UNET:
            _row(right, row, paired_differences(dice[UNET], dice[trainer]))
    left.set_xlabel("Dice")
    right.set_xlabel(f"Dice \N{MINUS SIGN} Dice of the {NETWORKS[UNET]}")
    right.locator_params(axis="x", nbins=6)
    right.axvline(0, color=plots.GRAY, linewidth=0.8)
    left.set_yticks(range(len(NETWORKS)), list(NETWORKS.values()))
    left.set_ylim(len(NETWORKS) - 0.5, -0.5)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    with replacing(picture) as temporary:
        figure.savefig(temporary, dpi=plots.DPI, format="png", metadata={DRAWN_FROM: fingerprint()})


def faults(picture: Path = PICTURE) -> list[str]:
    """Nothing, or a line saying that the picture is of other results."""
    with Image.open(picture) as image:
        drawn_from = image.info.get(DRAWN_FROM)
    if drawn_from == fingerprint():
        return []
    return [f"{picture.name} was drawn from other results: run `python -m studies.tables`."]


def _row(axes: Axes, row: int, cases: Mapping[str, float]) -> None:
    values = list(cases.values())
    summary = summarize(values)
    axes.plot(values, [row] * len(values), "o", color=plots.BLUE, alpha=0.3, markersize=5, markeredgewidth=0)
    axes.plot(summary["interval_95"], [row, row], color="black", linewidth=1.5)
    axes.plot([summary["mean"]], [row], "D", color="black", markersize=5)
