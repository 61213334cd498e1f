"""Add faint lesions to phantoms: `python -m studies.faint_lesions DATASET NEW_DATASET [--seed 0]`.

DATASET is a raw dataset of CT in HU and PET in SUV, such as whole-body phantoms. Every case that has a lesion gets one
to three more, of SUV 1 to 2.5 in soft tissue, as low-grade tumors or PSMA may have; cases without lesions stay so.
"""

import argparse
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from scipy import ndimage

from h2aseg_nnunet.modalities import CT, PET
from h2aseg_nnunet.petct.images.reading import read_image

SUV = (1.0, 2.5)
RADIUS_MM = (6.0, 14.0)
MOST_LESIONS = 3
MUSCLE_HU, MUSCLE_SUV = (0.0, 90.0), (0.3, 0.9)
"""Where lesions are put: soft tissue whose own uptake leaves a contrast."""

DISTANCE_MM = 12.0
"""To lesions that are there."""

BLUR_MM = 2.5
DENSER_HU = 15.0


class Phantom(NamedTuple):
    """CT in HU, PET in SUV and mask on one grid, (z, y, x)."""

    ct: NDArray
    pet: NDArray
    label: NDArray


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.faint_lesions", description=__doc__.splitlines()[0])
    parser.add_argument(
        "dataset", type=Path, help="raw dataset with imagesTr and labelsTr, perhaps imagesTs and labelsTs"
    )
    parser.add_argument("output", type=Path, help="new raw dataset")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.output.exists():
        raise SystemExit(f"{options.output} exists: choose another name.")
    for part in ("Tr", "Ts"):
        for label in sorted((options.dataset / f"labels{part}").glob("*.nii.gz")):
            add_to_case(options.dataset, options.output, part, label.name.removesuffix(".nii.gz"), options.seed)
    shutil.copy(options.dataset / "dataset.json", options.output / "dataset.json")


def add_to_case(source: Path, target: Path, part: str, name: str, seed: int) -> None:
    """Write one case with its new lesions."""
    relative = [f"images{part}/{name}_{channel:04d}.nii.gz" for channel in (CT, PET)] + [f"labels{part}/{name}.nii.gz"]
    images = [read_image(source / file) for file in relative]
    phantom = Phantom(*map(SimpleITK.GetArrayFromImage, images))
    spacing_mm = images[0].GetSpacing()[::-1]
    rng = np.random.default_rng([seed, *name.encode()])
    added = add_faint_lesions(phantom, spacing_mm, rng) if phantom.label.any() else phantom
    for file, image, array in zip(relative, images, added, strict=True):
        new = SimpleITK.GetImageFromArray(array)
        new.CopyInformation(image)
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        SimpleITK.WriteImage(new, str(target / file), True)
    more_ml = (added.label > phantom.label).sum() * np.prod(spacing_mm) / 1000
    print(f"{name}: {more_ml:.1f} ml of faint lesions", flush=True)


def add_faint_lesions(phantom: Phantom, spacing_mm: tuple[float, ...], rng: np.random.Generator) -> Phantom:
    """Put one to three ellipsoids into soft tissue; their uptake is even, blurred as a scanner does."""
    ct, pet, label = phantom.ct.astype(np.float32), phantom.pet.copy(), phantom.label.copy()
    smooth_ct, smooth_pet = (ndimage.gaussian_filter(each.astype(np.float32), 1.5) for each in (ct, pet))
    muscle = (smooth_ct > MUSCLE_HU[0]) & (smooth_ct < MUSCLE_HU[1])
    muscle &= (smooth_pet > MUSCLE_SUV[0]) & (smooth_pet < MUSCLE_SUV[1])
    for _ in range(rng.integers(1, MOST_LESIONS + 1)):
        apart = ndimage.distance_transform_edt(label == 0, sampling=spacing_mm) > DISTANCE_MM + RADIUS_MM[1]
        places = np.argwhere(muscle & apart)
        if not len(places):
            break
        lesion = _ellipsoid(label.shape, places[rng.integers(len(places))], rng.uniform(*RADIUS_MM, 3), spacing_mm)
        lesion &= muscle
        part = ndimage.gaussian_filter(lesion.astype(np.float32), [BLUR_MM / mm for mm in spacing_mm])
        pet += part * (rng.uniform(*SUV) - float(smooth_pet[lesion].mean()))
        ct += part * DENSER_HU
        label[lesion] = 1
    return Phantom(np.rint(ct).astype(phantom.ct.dtype), pet.astype(phantom.pet.dtype), label)


def _ellipsoid(
    shape: tuple[int, ...], center: NDArray, radii_mm: NDArray, spacing_mm: tuple[float, ...]
) -> NDArray[np.bool_]:
    axes = np.ogrid[tuple(slice(size) for size in shape)]
    parts = [((axis - c) * mm / r) ** 2 for axis, c, mm, r in zip(axes, center, spacing_mm, radii_mm, strict=True)]
    return sum(parts[1:], parts[0]) <= 1


if __name__ == "__main__":
    main()
