"""How far PET alone goes in every case, and the tumor's uptake: `python -m studies.pet_alone RAW_DATASET CSV`.

The Dice of all voxels above 41 % of the tumor's maximal SUV within the image. Where it is low, PET misleads: tumors
have cold parts or lie beside hot tissue. Uptake is the mean SUV within the reference.
"""

import argparse
from pathlib import Path

import SimpleITK
from numpy.typing import NDArray

SHARE_OF_MAXIMUM = 0.41


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.pet_alone", description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path, help="nnU-Net's raw dataset with imagesTr and labelsTr")
    parser.add_argument("csv", type=Path, help="table to be written")
    options = parser.parse_args()
    cases = sorted(file.name.removesuffix(".nii.gz") for file in (options.dataset / "labelsTr").glob("*.nii.gz"))
    rows = [row(options.dataset, case) for case in cases]
    options.csv.write_text("\n".join(["case,dice,suv_mean", *rows]) + "\n")


def row(dataset: Path, case: str) -> str:
    """Name, Dice and uptake of a case."""
    pet = read(dataset / "imagesTr" / f"{case}_0001.nii.gz")
    tumor = read(dataset / "labelsTr" / f"{case}.nii.gz") > 0
    return f"{case},{dice_of_pet(pet, tumor):.4f},{pet[tumor].mean(dtype=float):.4f}"


def dice_of_pet(pet: NDArray, tumor: NDArray) -> float:
    """Dice of the thresholded PET and the reference over the whole image."""
    above = pet > SHARE_OF_MAXIMUM * pet[tumor].max()
    return float(2 * (above & tumor).sum() / (above.sum() + tumor.sum()))


def read(file: Path) -> NDArray:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))


if __name__ == "__main__":
    main()
