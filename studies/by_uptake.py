"""Where PET alone misleads, and where it does not: `python -m studies.by_uptake OUT/compare.csv RAW_DATASET`.

For every case of a comparison, an SUV threshold says how far PET alone goes: the Dice of all voxels above 41 % of the
tumour's maximum within the image, against the reference. Cases are split at the median of this Dice; the differences
between trainers are given for each half, with 95 % bootstrap intervals over cases.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK
from scipy.stats import spearmanr

from h2aseg_nnunet.petct.evaluate.aggregate import summarize

SHARE_OF_MAXIMUM = 0.41


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.by_uptake", description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="compare.csv")
    parser.add_argument("dataset", type=Path, help="imagesTr and labelsTr of nnU-Net")
    parser.add_argument("--measure", default="dice")
    options = parser.parse_args()
    table = pd.read_csv(options.table)
    values = table.pivot_table(index="case", columns="trainer", values=options.measure, sort=False)
    reference = table.trainer.iloc[0]
    pet_alone = pd.Series({case: dice_of_pet(options.dataset, case) for case in values.index})
    misleading = pet_alone < pet_alone.median()
    print(f"PET alone: Dice {pet_alone.median():.2f} in the middle; {misleading.sum()} cases below, others above\n")
    print(f"| trainer | Dice where PET misleads | minus {reference} | Dice elsewhere | minus {reference} | Spearman |")
    print("|---|---|---|---|---|---|")
    for trainer in values:
        difference = values[trainer] - values[reference]
        halves = (misleading, ~misleading)
        cells = [f"{values[trainer][half].mean():.3f} | {interval(difference[half])}" for half in halves]
        correlation = spearmanr(pet_alone, difference).statistic if trainer != reference else float("nan")
        print(f"| {trainer} | {' | '.join(cells)} | {correlation:+.2f} |")


def dice_of_pet(dataset: Path, case: str) -> float:
    """Dice of the threshold's mask with the reference; every voxel of the image counts."""
    pet = read(dataset / "imagesTr" / f"{case}_0001.nii.gz")
    tumor = read(dataset / "labelsTr" / f"{case}.nii.gz") > 0
    above = pet > SHARE_OF_MAXIMUM * pet[tumor].max()
    return float(2 * (above & tumor).sum() / (above.sum() + tumor.sum()))


def read(file: Path) -> np.ndarray:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))


def interval(differences: pd.Series) -> str:
    if not differences.abs().max():
        return "0"
    low, high = summarize(list(differences))["interval_95"]
    return f"{differences.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


if __name__ == "__main__":
    main()
