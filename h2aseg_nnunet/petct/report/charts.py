"""Charts of the overview: one point per case, which leads to the case's page."""

import io
import re
from collections.abc import Sequence
from xml.etree import ElementTree

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from h2aseg_nnunet.petct import plots
from h2aseg_nnunet.petct.report.html import case_url
from h2aseg_nnunet.petct.report.summary import agreement, distribution

FONTS = ["system-ui", "Helvetica", "Arial", "sans-serif"]
POINTS = {"s": 24, "facecolor": plots.BLUE, "edgecolor": "white", "linewidth": 0.5, "zorder": 3}
LINE = {"color": "#B34700", "linewidth": 1.5, "zorder": 4}
LINEAR_UP_TO_ML = 1.0
"""Volume axes are logarithmic above: 0.5 ml and 500 ml both have their place there, and so has 0."""


def strip_chart(values: Sequence[float], cases: Sequence[str], name: str, label: str, is_volume: bool) -> str:
    """Draw all values of a measure on one line, with the median and the range between the quartiles."""
    figure, axes = _figure(4.2, 1.5)
    middle = distribution(values)
    if middle:
        axes.axvspan(middle.lower_quartile, middle.upper_quartile, color="#DDE3E8", linewidth=0)
        axes.axvline(middle.median, **LINE)
    if is_volume:
        _volume_scale(axes, values, x=True)
    else:
        axes.set_xlim(-0.03, 1.03)
    height = np.random.default_rng(0).uniform(-0.4, 0.4, len(values))  # sets equal values apart
    axes.scatter(values, height, urls=_urls(cases), alpha=_opacity(cases), **POINTS)
    axes.set(ylim=(-0.5, 0.5), yticks=[], xlabel=label)
    return _svg(figure, cases, name)


def scatter_chart(reference_ml: Sequence[float], predicted_ml: Sequence[float], cases: Sequence[str], name: str) -> str:
    """Draw predicted over reference volume, with the line of identity."""
    figure, axes = _figure(4.2, 3.6)
    largest = max([*reference_ml, *predicted_ml])
    _volume_scale(axes, [largest], x=True, y=True)
    axes.plot([0, largest], [0, largest], linestyle="dashed", **LINE)
    axes.scatter(reference_ml, predicted_ml, urls=_urls(cases), alpha=_opacity(cases), **POINTS)
    axes.set(xlabel="Reference volume (ml)", ylabel="Predicted volume (ml)")
    return _svg(figure, cases, name)


def bland_altman_chart(
    reference_ml: Sequence[float], predicted_ml: Sequence[float], cases: Sequence[str], name: str
) -> str:
    """Draw the difference of the volumes over their mean, with bias and limits of agreement."""
    figure, axes = _figure(4.2, 3.6)
    mean_ml, difference_ml = np.add(reference_ml, predicted_ml) / 2, np.subtract(predicted_ml, reference_ml)
    _volume_scale(axes, mean_ml.tolist(), x=True)
    axes.axhline(0, color="#777777", linewidth=0.8)
    limits = agreement(reference_ml, predicted_ml)
    if limits:
        axes.axhline(limits.bias, **LINE)
        axes.axhline(limits.lower_limit, linestyle="dashed", **LINE)
        axes.axhline(limits.upper_limit, linestyle="dashed", **LINE)
    axes.scatter(mean_ml, difference_ml, urls=_urls(cases), alpha=_opacity(cases), **POINTS)
    axes.set(xlabel="Mean of both volumes (ml)", ylabel="Predicted \N{MINUS SIGN} reference (ml)")
    return _svg(figure, cases, name)


def _figure(width_inches: float, height_inches: float) -> tuple[Figure, Axes]:
    figure = plots.figure(width_inches, height_inches)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _volume_scale(axes: Axes, volumes_ml: Sequence[float], x: bool = False, y: bool = False) -> None:
    limits = (-0.15, max(10.0, 1.6 * max(volumes_ml, default=0)))
    for wanted, set_scale, set_limits, axis in (
        (x, axes.set_xscale, axes.set_xlim, axes.xaxis),
        (y, axes.set_yscale, axes.set_ylim, axes.yaxis),
    ):
        if wanted:
            set_scale("symlog", linthresh=LINEAR_UP_TO_ML)
            set_limits(limits)
            axis.set_major_formatter("{x:,g}")


def _opacity(cases: Sequence[str]) -> float:
    """Choose an opacity at which hundreds of points do not hide each other."""
    return max(0.25, min(0.8, 60 / len(cases))) if cases else 1.0


def _urls(cases: Sequence[str]) -> list[str]:
    return [case_url(case) for case in cases]


def _svg(figure: Figure, cases: Sequence[str], name: str) -> str:
    """Make the figure an element of an HTML page, where it shares names and styles with everything else.

    Args:
        figure: A chart with links to cases.
        cases: Names of the links; the keyboard passes over them, since the table has the same links.
        name: A name that sets the identifiers apart from those of the page's other charts.
    """
    buffer = io.StringIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": name, "font.family": FONTS}
    with matplotlib.rc_context(settings):
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    root = ElementTree.fromstring(buffer.getvalue())
    names = dict(zip(_urls(cases), cases, strict=True))
    used = set(re.findall(r"#(\w+)", buffer.getvalue()))
    for element in root.iter():
        element.tag = _plain(element.tag)
        element.attrib = {_plain(key): value for key, value in element.items() if key != "id" or value in used}
        if element.tag == "style":
            element.text = ""  # would apply to the whole page
    for link in list(root.iter("a")):
        link.set("tabindex", "-1")
        ElementTree.SubElement(link, "title").text = names[link.attrib["href"]]
    for size in ("width", "height"):
        del root.attrib[size]  # the viewBox keeps the proportions
    return ElementTree.tostring(root, encoding="unicode")


def _plain(name: str) -> str:
    """Remove the XML namespace: HTML knows SVG."""
    return name.rpartition("}")[2]
