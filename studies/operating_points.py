"""False positives at equal misses: `python -m studies.operating_points LABELS NAME=PREDICTIONS NAME=... ...`.

A network that marks more misses less. So that two networks can be compared at the same missed volume, masks are made at
several thresholds of the tumour's probability, from what `nnUNetv2_predict --save_probabilities` wrote. First every
threshold, then each network at the highest one that misses no more than the first network does at 0.5, paired with it.
`--figure PNG` draws the curves.
"""

import argparse
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import matplotlib
import numpy as np
import SimpleITK
from tqdm import tqdm

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from h2aseg_nnunet.petct.evaluate.protocols import measure
from h2aseg_nnunet.petct.files import replacing
from h2aseg_nnunet.petct.statistics import describe, paired_differences
from studies.paired import TITLES, change, summary

THRESHOLDS = (
    0.99999,
    0.9999,
    0.999,
    0.99,
    0.9,
    0.8,
    0.7,
    0.6,
    0.5,
    0.4,
    0.3,
    0.2,
    0.1,
    0.05,
    0.02,
    0.01,
    1e-3,
    1e-4,
    1e-5,
)
_, FALSE_POSITIVE, FALSE_NEGATIVE = TITLES

Points = dict[float, dict[str, dict[str, float]]]
"""Threshold -> measure -> case -> value."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.operating_points", description=__doc__.splitlines()[0])
    parser.add_argument("labels", type=Path, help="reference masks")
    parser.add_argument("models", nargs="+", metavar="NAME=PREDICTIONS")
    parser.add_argument("--figure", type=Path, help="PNG to draw")
    parser.add_argument("-np", dest="processes", type=int, default=2, help="default: %(default)s")
    options = parser.parse_args()
    models = {}
    for model in options.models:
        name, folder = model.split("=", 1)
        models[name] = measure_folder(options.labels, Path(folder), options.processes)
    print_every_threshold(models)
    print_at_equal_misses(models)
    if options.figure:
        draw(models, options.figure)


def measure_folder(labels: Path, predictions: Path, processes: int) -> Points:
    """All cases at all thresholds."""
    files = sorted(predictions.glob("*.npz"))
    with Pool(processes) as pool:
        cases = list(tqdm(pool.imap(partial(measure_case, labels), files), total=len(files), desc=predictions.name))
    return {
        threshold: {
            name: {file.stem: case[threshold][name] for file, case in zip(files, cases, strict=True)} for name in TITLES
        }
        for threshold in THRESHOLDS
    }


def measure_case(labels: Path, probabilities: Path) -> dict[float, dict[str, float]]:
    image = SimpleITK.ReadImage(str(labels / f"{probabilities.stem}.nii.gz"))
    reference, spacing_mm = SimpleITK.GetArrayFromImage(image), image.GetSpacing()[::-1]
    with np.load(probabilities) as stored:
        tumor = 1 - stored["probabilities"][0]
    return {t: measure("autopet", reference, tumor > t, spacing_mm) for t in THRESHOLDS}


def mean(cases: dict[str, float]) -> float:
    return float(np.nanmean(list(cases.values())))


def at_most_missed(points: Points, missed_ml: float) -> float:
    """The highest threshold whose mean false-negative volume is at most `missed_ml`; the lowest of all if none is."""
    return max((t for t in points if mean(points[t][FALSE_NEGATIVE]) <= missed_ml), default=min(points))


def print_every_threshold(models: dict[str, Points]) -> None:
    print("Dice / FPV / FNV, means\n\n| threshold |", " | ".join(models), "|\n|---" + "|---" * len(models) + "|")
    for threshold in THRESHOLDS:
        means = [[mean(points[threshold][name]) for name in TITLES] for points in models.values()]
        print(f"| {threshold:g} |", " | ".join(f"{d:.3f} / {fp:.1f} / {fn:.1f}" for d, fp, fn in means), "|")


def print_at_equal_misses(models: dict[str, Points]) -> None:
    first, *others = models
    reference = models[first][0.5]
    missed_ml = mean(reference[FALSE_NEGATIVE])
    print(f"\n| missing at most {missed_ml:.1f} ml | threshold | measure | cases | mean | minus {first} | Wilcoxon p |")
    print("|---|---|---|---|---|---|---|")
    for name in others:
        threshold = at_most_missed(models[name], missed_ml)
        for quantity, cases in models[name][threshold].items():
            difference = describe(list(paired_differences(reference[quantity], cases).values()))
            print(f"| {name} | {threshold:g} | {TITLES[quantity]} | {summary(cases)} | {change(difference)} |")


def draw(models: dict[str, Points], picture: Path) -> None:
    """False-positive over false-negative volume of every network; a diamond at 0.5."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    at_half = THRESHOLDS.index(0.5)
    for name, points in models.items():
        missed, marked = (
            [mean(points[t][quantity]) for t in THRESHOLDS] for quantity in (FALSE_NEGATIVE, FALSE_POSITIVE)
        )
        (line,) = axes.plot(missed, marked, ".-", label=name)
        axes.plot(missed[at_half], marked[at_half], "D", color=line.get_color(), markersize=9)
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(TITLES[FALSE_NEGATIVE])
    axes.set_ylabel(TITLES[FALSE_POSITIVE])
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    with replacing(picture) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
    plt.close(figure)


if __name__ == "__main__":
    main()
