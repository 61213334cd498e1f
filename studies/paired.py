"""Paired differences of finished evaluations: `python -m studies.paired A.json B.json ...`.

Each file is what `h2aseg evaluate --metrics autopet -o FILE` wrote about the same cases; the first is the reference.
`--figure PNG` draws every case, with means and 95 % intervals.
"""

import argparse
import json
import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from h2aseg_nnunet.petct.compare.collect import MEASURES
from h2aseg_nnunet.petct.evaluate.aggregate import summarize
from h2aseg_nnunet.petct.files import replacing
from h2aseg_nnunet.petct.statistics import Difference, describe, paired_differences

TITLES = {
    "dice": "Dice",
    "false_positive_volume_ml": "false-positive volume, ml",
    "false_negative_volume_ml": "false-negative volume, ml",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.paired", description=__doc__.splitlines()[0])
    parser.add_argument("evaluations", type=Path, nargs="+")
    parser.add_argument("--figure", type=Path, help="PNG to draw")
    options = parser.parse_args()
    reference, *others = options.evaluations
    print(f"| | measure | cases | mean | minus {reference.stem} | Wilcoxon p |\n|---|---|---|---|---|---|")
    for measure in MEASURES:
        expected = values(reference, measure)
        print(f"| {reference.stem} | {measure} | {summary(expected)} | | |")
        for file in others:
            given = values(file, measure)
            difference = describe(list(paired_differences(expected, given).values()))
            print(f"| {file.stem} | {measure} | {summary(given)} | {change(difference)} |")
    if options.figure:
        draw(options.evaluations, options.figure)


def values(file: Path, measure: str) -> dict[str, float]:
    cases = json.loads(file.read_text())["cases"]
    return {case: math.nan if found[measure] is None else found[measure] for case, found in cases.items()}


def summary(cases: dict[str, float]) -> str:
    defined = [value for value in cases.values() if not math.isnan(value)]
    found = summarize(defined)
    low, high = found["interval_95"]
    return f"{len(defined)} | {found['mean']:.3f} [{low:.3f}, {high:.3f}]"


def change(difference: Difference) -> str:
    low, high = difference.interval_95
    return f"{difference.mean:+.3f} [{low:+.3f}, {high:+.3f}] | {difference.wilcoxon_p:.3g}"


def draw(evaluations: list[Path], picture: Path) -> None:
    """A panel per measure, in it a row of dots per evaluation, one per case, and the mean with its interval."""
    height = 0.8 + 0.4 * len(evaluations)
    figure, panels = plt.subplots(1, len(TITLES), figsize=(12, height), layout="constrained", sharey=True)
    for axes, (measure, title) in zip(panels, TITLES.items(), strict=True):
        for row, file in enumerate(evaluations):
            _row(axes, row, [value for value in values(file, measure).values() if not math.isnan(value)])
        if measure != "dice":
            axes.set_xscale("symlog", linthresh=1)
        axes.set_xlim(left=0)
        axes.set_title(title, fontsize="medium")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(evaluations)), [file.stem for file in evaluations])
    panels[0].set_ylim(len(evaluations) - 0.5, -0.5)
    with replacing(picture) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
    plt.close(figure)


def _row(axes: Axes, row: int, cases: list[float]) -> None:
    found = summarize(cases)
    low, high = found["interval_95"]
    axes.plot(
        cases, [row] * len(cases), "o", color="tab:blue", alpha=0.35, markersize=5, markeredgewidth=0, clip_on=False
    )
    axes.plot([low, high], [row, row], color="black", linewidth=1.5)
    axes.plot([found["mean"]], [row], "D", color="black", markersize=6)


if __name__ == "__main__":
    main()
