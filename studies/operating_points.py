"""False positives at equal misses: `python -m studies.operating_points LABELS NAME=PREDICTIONS NAME=... ...`.

A network that marks more misses less. To compare networks at the same missed volume, masks are made at several
thresholds of the tumor's probability, which `nnUNetv2_predict --save_probabilities` wrote. The first table has every
threshold. The second has each network at the highest threshold that misses no more than the first network does at 0.5.
"""

import argparse
from pathlib import Path

import numpy as np
import SimpleITK
from tqdm import tqdm

from h2aseg_nnunet.petct.evaluate.protocols import measure
from h2aseg_nnunet.petct.statistics import describe, paired_differences

THRESHOLDS = (0.9999, 0.999, 0.99, 0.9, 0.7, 0.5, 0.3, 0.1, 0.01, 1e-3, 1e-4)
DICE, FALSE_POSITIVE, FALSE_NEGATIVE = "dice", "false_positive_volume_ml", "false_negative_volume_ml"

Points = dict[float, dict[str, dict[str, float]]]
"""Threshold -> measure -> case -> value."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.operating_points", description=__doc__.splitlines()[0])
    parser.add_argument("labels", type=Path, help="folder of reference masks")
    parser.add_argument("models", nargs="+", metavar="NAME=PREDICTIONS", help="name and folder of probabilities")
    options = parser.parse_args()
    folders = dict(model.split("=", 1) for model in options.models)
    models = {name: measure_folder(options.labels, Path(folder)) for name, folder in folders.items()}
    print_every_threshold(models)
    print_at_equal_misses(models)


def measure_folder(labels: Path, predictions: Path) -> Points:
    """All cases of a folder at all thresholds."""
    points: Points = {threshold: {DICE: {}, FALSE_POSITIVE: {}, FALSE_NEGATIVE: {}} for threshold in THRESHOLDS}
    for file in tqdm(sorted(predictions.glob("*.npz")), desc=predictions.name):
        image = SimpleITK.ReadImage(str(labels / f"{file.stem}.nii.gz"))
        reference, spacing_mm = SimpleITK.GetArrayFromImage(image), image.GetSpacing()[::-1]
        with np.load(file) as stored:
            tumor = 1 - stored["probabilities"][0]
        for threshold, by_measure in points.items():
            found = measure("autopet", reference, tumor > threshold, spacing_mm)
            for name, cases in by_measure.items():
                cases[file.stem] = found[name]
    return points


def mean(cases: dict[str, float]) -> float:
    return float(np.nanmean(list(cases.values())))


def at_most_missed(points: Points, missed_ml: float) -> float:
    """The highest threshold whose mean false-negative volume is at most `missed_ml`; the lowest of all if none is."""
    return max((t for t in points if mean(points[t][FALSE_NEGATIVE]) <= missed_ml), default=min(points))


def print_every_threshold(models: dict[str, Points]) -> None:
    print(f"| Dice / FPV / FNV at | {' | '.join(models)} |\n|---{'|---' * len(models)}|")
    for threshold in THRESHOLDS:
        means = [[mean(cases) for cases in points[threshold].values()] for points in models.values()]
        print(f"| {threshold:g} |", " | ".join(f"{d:.3f} / {fp:.1f} / {fn:.1f}" for d, fp, fn in means), "|")


def print_at_equal_misses(models: dict[str, Points]) -> None:
    first, *others = models
    missed_ml = mean(models[first][0.5][FALSE_NEGATIVE])
    print(f"\n| missing at most {missed_ml:.1f} ml | threshold | measure | mean | minus {first} | Wilcoxon p |")
    print("|---|---|---|---|---|---|")
    for name in others:
        threshold = at_most_missed(models[name], missed_ml)
        for quantity, cases in models[name][threshold].items():
            difference = describe(list(paired_differences(models[first][0.5][quantity], cases).values()))
            low, high = difference.interval_95
            change = f"{difference.mean:+.3f} [{low:+.3f}, {high:+.3f}] | {difference.wilcoxon_p:.3g}"
            print(f"| {name} | {threshold:g} | {quantity} | {mean(cases):.3f} | {change} |")


if __name__ == "__main__":
    main()
