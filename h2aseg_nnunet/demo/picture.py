"""Maximum-intensity projections: the whole patient at a glance, as readers of PET are used to see it.

Panels assume LPS images with identity direction, axes (z, y, x): head up; in the coronal view the patient's right is
on the reader's left, in the sagittal view the patient faces the reader's left.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from h2aseg_nnunet.petct import plots
from h2aseg_nnunet.petct.evaluate.metrics import dice
from h2aseg_nnunet.petct.images.display import CORONAL, SAGITTAL, View

REFERENCE_STYLE = {"color": plots.BLUE, "linewidth": 1.4, "linestyle": "solid"}
PREDICTION_STYLE = {"color": plots.VERMILION, "linewidth": 1.2, "linestyle": "dashed"}  # dashes stay apart in print
CASES_PER_ROW = 4
ROW_HEIGHT_INCHES = 5.0
DPI = 120


class DrawnCase(NamedTuple):
    """One patient's PET with the masks to compare: arrays of equal shape, `spacing_mm` in the arrays' (z, y, x)."""

    name: str
    pet_suv: NDArray
    reference: NDArray
    prediction: NDArray
    spacing_mm: tuple[float, float, float]


VIEWS = (CORONAL, SAGITTAL)


def draw_mips(cases: Sequence[DrawnCase], output_file: str | Path, max_suv: float = 10.0) -> None:
    """Draw a coronal and a sagittal projection of each case, with both masks outlined, into one picture.

    Args:
        cases: At least one case.
        output_file: The PNG to write.
        max_suv: SUV that is drawn black.

    Raises:
        ValueError: If there are no cases, or a mask's shape differs from the PET's.
        UserError: If the file cannot be written.
    """
    if not cases:
        raise ValueError("cases is empty: nothing to draw.")
    plots.save(mip_figure(cases, max_suv), Path(output_file), DPI)


def mip_figure(cases: Sequence[DrawnCase], max_suv: float = 10.0) -> Figure:
    """Make the figure of `draw_mips`: rows of `CASES_PER_ROW` cases, each with one axes per view."""
    columns = min(len(cases), CASES_PER_ROW)
    rows = -(-len(cases) // columns)
    widths = [_view_size_mm(cases[0], view)[0] for view in VIEWS]
    height = _view_size_mm(cases[0], CORONAL)[1]
    figure = plots.figure(1.5 + columns * ROW_HEIGHT_INCHES * sum(widths) / height, rows * ROW_HEIGHT_INCHES)
    axes = figure.subplots(rows, columns * len(VIEWS), squeeze=False, width_ratios=widths * columns)
    panels = axes.reshape(-1, len(VIEWS))
    for case, case_axes in zip(cases, panels, strict=False):
        for view, view_axes in zip(VIEWS, case_axes, strict=True):
            image = _draw_view(view_axes, case, view, max_suv)
        case_axes[0].set_title(f"{case.name}  Dice {dice(case.reference, case.prediction):.2f}", loc="left")
    for unused in panels[len(cases) :].flat:
        unused.set_axis_off()
    figure.colorbar(image, ax=axes, label="SUV", extend="max", shrink=0.6)
    styles = {"reference": REFERENCE_STYLE, "prediction": PREDICTION_STYLE}
    figure.legend(
        handles=[Line2D([], [], label=label, **style) for label, style in styles.items()],
        loc="outside lower center",
        ncols=2,
        frameon=False,
    )
    return figure


def _view_size_mm(case: DrawnCase, view: View) -> tuple[float, float]:
    """Return width and height of a projection."""
    height, width = np.delete(np.multiply(case.pet_suv.shape, case.spacing_mm), view.axis)
    return float(width), float(height)


def _draw_view(axes: Axes, case: DrawnCase, view: View, max_suv: float) -> AxesImage:
    width_mm, height_mm = _view_size_mm(case, view)
    image = axes.imshow(
        case.pet_suv.max(axis=view.axis),
        cmap="gray_r",
        vmin=0,
        vmax=max_suv,
        origin="lower",  # z grows toward the head
        extent=(0, width_mm, 0, height_mm),
        aspect="equal",
    )
    _outline(axes, case, case.reference, view, REFERENCE_STYLE)
    _outline(axes, case, case.prediction, view, PREDICTION_STYLE)
    axes.text(0.03, 0.98, view.left, transform=axes.transAxes, va="top", ha="left")
    axes.text(0.97, 0.98, view.right, transform=axes.transAxes, va="top", ha="right")
    axes.set(xticks=[], yticks=[])
    return image


def _outline(axes: Axes, case: DrawnCase, mask: NDArray, view: View, style: dict) -> None:
    if mask.shape != case.pet_suv.shape:
        raise ValueError(f"{case.name}: a mask of shape {mask.shape} does not fit PET of shape {case.pet_suv.shape}.")
    if not mask.any():
        return  # contour warns of a level that it cannot find
    shadow = np.pad(mask.astype(bool).any(axis=view.axis), 1)  # closes outlines at the image's border
    z_mm, x_mm = (
        (np.arange(n) - 0.5) * spacing  # centers of the padded image's pixels
        for n, spacing in zip(shadow.shape, np.delete(case.spacing_mm, view.axis), strict=True)
    )
    axes.contour(
        x_mm,
        z_mm,
        shadow,
        levels=[0.5],  # halfway between centers inside and outside: at the voxels' edges
        colors=style["color"],
        linewidths=style["linewidth"],
        linestyles=style["linestyle"],
    )
