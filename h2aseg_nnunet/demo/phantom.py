"""Synthetic whole-body FDG PET/CT whose lesions only CT and PET together define.

A lesion is a dense nodule in CT *and* hot in PET. Cold nodules look the same in CT, hot fat and hot organs the same
in PET: no threshold on PET finds the lesions, and nothing in CT alone does.

Points are (z, y, x) in millimeters: z up from the thighs, y from the body's axis to the back, x from the body's axis
to the patient's left. They are the axes of an LPS image with identity direction.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from tqdm import tqdm

from h2aseg_nnunet.modalities import CT, PET
from h2aseg_nnunet.petct.files import replacing, write_json

SHAPE = (112, 32, 56)
SPACING_MM = (8.0, 8.0, 8.0)
FILE_ENDING = ".nii.gz"

Coordinates = Sequence[NDArray]  # z (d, 1, 1), y (1, h, 1) and x (1, 1, w) of the voxels' centers
Point = Sequence[float]  # z, y, x
Range = tuple[float, float]


class Tissue(NamedTuple):
    """What the scanner measures: CT density, and the range of FDG uptake between patients."""

    hu: float
    suv: Range


class Ellipsoid(NamedTuple):
    """An organ; a paired one lies on both sides of the body."""

    center: Point
    radii: Point
    tissue: Tissue
    paired: bool = False

    def contains(self, grid: Coordinates) -> NDArray[np.bool_]:
        z, y, x = _fold(grid, self.paired)
        (cz, cy, cx), (rz, ry, rx) = self.center, self.radii
        return ((z - cz) / rz) ** 2 + ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1


class Tube(NamedTuple):
    """A limb, bone or airway whose radius changes from start to end; a paired one lies on both sides of the body."""

    start: Point
    end: Point
    radii: Range
    tissue: Tissue
    paired: bool = False

    def contains(self, grid: Coordinates) -> NDArray[np.bool_]:
        axis = np.subtract(self.end, self.start)
        offset = [g - s for g, s in zip(_fold(grid, self.paired), self.start, strict=True)]
        along = np.clip(sum(o * a for o, a in zip(offset, axis, strict=True)) / (axis @ axis), 0, 1)
        distance_squared = sum((o - along * a) ** 2 for o, a in zip(offset, axis, strict=True))
        return distance_squared <= (self.radii[0] + along * (self.radii[1] - self.radii[0])) ** 2


class FocalFinding(NamedTuple):
    """A focal finding: its density, its uptake, and the densities of the tissues in which it may lie."""

    hu: Range
    suv: Range
    hosts: tuple[float, ...]


AIR = Tissue(-1000, (0.0, 0.0))
LUNG = Tissue(-800, (0.3, 0.6))
FAT = Tissue(-100, (0.2, 0.4))
MUSCLE = Tissue(45, (0.5, 0.9))
BONE = Tissue(350, (0.9, 1.9))  # with its marrow

TRUNK = np.array(  # height, half depth and half width of the muscles
    [
        (60, 82, 142),
        (130, 92, 150),
        (200, 88, 144),
        (270, 82, 130),
        (350, 90, 138),
        (450, 102, 150),
        (540, 94, 158),
        (590, 78, 152),
        (615, 62, 112),
        (640, 54, 58),
    ]
)
LIMBS = (
    Tube((0, 0, 80), (80, 0, 78), (66, 70), MUSCLE, paired=True),
    Tube((150, -5, 190), (572, 10, 172), (20, 36), MUSCLE, paired=True),
    Tube((600, 15, 0), (690, 5, 0), (54, 50), MUSCLE),
)
HEAD = (
    Ellipsoid((755, 0, 0), (105, 92, 76), MUSCLE),
    Ellipsoid((785, 4, 0), (74, 86, 70), BONE),
    Ellipsoid((785, 4, 0), (62, 73, 57), Tissue(35, (7, 13))),  # cortex
    Ellipsoid((788, 6, 0), (36, 46, 34), Tissue(28, (4, 6))),  # white matter
    Ellipsoid((722, -50, 0), (24, 24, 14), AIR),  # nose
    Tube((685, -60, 0), (705, 0, 48), (10, 10), BONE, paired=True),  # jaw
    Tube((480, 5, 0), (690, -15, 0), (10, 9), AIR),  # trachea
)
SKELETON = (
    Tube((80, 58, 0), (720, 45, 0), (24, 15), BONE),  # spine
    Ellipsoid((185, 35, 92), (62, 42, 16), BONE, paired=True),  # ilium
    Ellipsoid((125, 50, 0), (45, 20, 42), BONE),  # sacrum
    Tube((0, 0, 84), (90, 0, 96), (14, 16), BONE, paired=True),  # femur
    Ellipsoid((108, 2, 94), (24, 24, 24), BONE, paired=True),  # hip
    Tube((160, -5, 190), (575, 10, 170), (9, 12), BONE, paired=True),  # arm
    Ellipsoid((578, 10, 158), (22, 22, 22), BONE, paired=True),  # shoulder
    Tube((585, -45, 20), (600, -20, 140), (8, 8), BONE, paired=True),  # clavicle
    Tube((470, -88, 0), (575, -68, 0), (8, 10), BONE),  # sternum
)
CHEST = Ellipsoid((465, 0, 0), (165, 98, 144), BONE)
RIB_MM = 12.0
RIB_INTERVAL_MM = 32.0
ABDOMEN = Ellipsoid((220, -14, 0), (125, 66, 112), FAT)
ORGANS = (
    Ellipsoid((488, 2, 76), (122, 78, 54), LUNG, paired=True),
    Ellipsoid((438, -22, 22), (50, 50, 56), Tissue(40, (1.2, 1.8))),  # heart
    Ellipsoid((434, -24, 44), (42, 38, 36), Tissue(40, (1.5, 9))),  # left ventricle
    Ellipsoid((434, -24, 44), (22, 18, 16), Tissue(40, (1.2, 1.8))),  # its blood
    Ellipsoid((345, -8, -62), (66, 74, 78), Tissue(55, (1.9, 2.7))),  # liver
    Ellipsoid((362, 36, 90), (48, 40, 34), Tissue(50, (1.5, 2.2))),  # spleen
    Ellipsoid((350, -30, 64), (48, 40, 52), Tissue(35, (1.2, 2.8))),  # stomach
    Ellipsoid((225, -8, 88), (66, 20, 18), Tissue(30, (0.8, 2.5)), paired=True),  # colon
    Ellipsoid((272, 40, 62), (52, 24, 25), Tissue(32, (2.5, 7)), paired=True),  # kidney
    Ellipsoid((272, 38, 52), (24, 12, 12), Tissue(10, (6, 18)), paired=True),  # renal pelvis
    Ellipsoid((128, -32, 0), (30, 32, 36), Tissue(5, (6, 40))),  # bladder
)

NODULE_HU = (80.0, 92.0)
HOT_SUV = (4.0, 15.0)
LESION = FocalFinding(NODULE_HU, HOT_SUV, hosts=(LUNG.hu, FAT.hu, MUSCLE.hu))
COLD_NODULE = FocalFinding(NODULE_HU, (0.4, 1.2), hosts=(LUNG.hu, FAT.hu, MUSCLE.hu))
HOT_FAT = FocalFinding((-105.0, -95.0), HOT_SUV, hosts=(FAT.hu, MUSCLE.hu))
FINDINGS_OF_EACH_KIND = (2, 6)
FINDING_RADIUS_MM = (12.0, 32.0)
ROOM_MM = 20.0  # the largest sphere that must fit where a finding is put

CT_NOISE_HU = 8.0
CT_FWHM_MM = 6.0
PET_FWHM_MM = 10.0  # a scanner's 7 mm, and the averaging over a voxel
PET_NOISE = 0.12  # standard deviation at SUV 1; it grows with the square root of uptake, as counts do


def phantom(rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]:
    """Draw one patient.

    Returns:
        CT in HU, PET in SUV and the lesion mask (0 or 1), each of `SHAPE` and `SPACING_MM`, axes (z, y, x).
    """
    hu, suv = _anatomy(rng)
    lesions = _add_findings(hu, suv, rng)
    ct = _blur(hu, CT_FWHM_MM) + rng.normal(0, CT_NOISE_HU, SHAPE)
    noise = PET_NOISE * np.sqrt(suv) * rng.standard_normal(SHAPE)
    pet = _blur(suv + noise, PET_FWHM_MM).clip(min=0)
    return ct.astype(np.float32), pet.astype(np.float32), lesions


def write_dataset(folder: str | Path, num_training: int, num_test: int, seed: int) -> None:
    """Write phantoms as a raw nnU-Net dataset, with labels for the test cases too.

    A case depends only on `seed` and its number, and cases that `folder` already holds are kept: an interrupted call
    can be repeated. `dataset.json` comes last, so where it exists the dataset is complete.

    Args:
        folder: The dataset's folder.
        num_training: Number of cases in imagesTr.
        num_test: Number of cases in imagesTs.
        seed: Seed of the patients.

    Raises:
        UserError: If a file cannot be written.
    """
    folder = Path(folder)
    for index in tqdm(range(num_training + num_test), desc="phantoms", unit="case"):
        split = "Tr" if index < num_training else "Ts"
        files = (
            folder / f"images{split}" / f"phantom_{index:03d}_{CT:04d}{FILE_ENDING}",
            folder / f"images{split}" / f"phantom_{index:03d}_{PET:04d}{FILE_ENDING}",
            folder / f"labels{split}" / f"phantom_{index:03d}{FILE_ENDING}",
        )
        if all(file.exists() for file in files):
            continue
        volumes: tuple[NDArray, ...] = phantom(np.random.default_rng((seed, index)))
        for volume, file in zip(volumes, files, strict=True):
            _write_image(volume, file)
    _write_dataset_json(folder, num_training)


def _grid() -> Coordinates:
    """Return voxel centers, with the body's axis in the middle of the image."""
    z, y, x = np.ogrid[tuple(slice(n) for n in SHAPE)]
    dz, dy, dx = SPACING_MM
    return (z + 0.5) * dz, (y - (SHAPE[1] - 1) / 2) * dy, (x - (SHAPE[2] - 1) / 2) * dx


def _fold(grid: Coordinates, paired: bool) -> Coordinates:
    """Lay the right half of the body onto the left, so that one shape describes both of a pair."""
    z, y, x = grid
    return z, y, abs(x) if paired else x


def _anatomy(rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Return HU and SUV of a patient without findings, painted from the skin inward."""
    hu, suv = np.full(SHAPE, AIR.hu), np.zeros(SHAPE)
    stature = rng.uniform((0.94, 0.92, 0.90), (1.02, 1.03, 1.0))
    grid = [axis / scale for axis, scale in zip(_grid(), stature, strict=True)]

    def paint(inside: NDArray[np.bool_], tissue: Tissue) -> None:
        hu[inside], suv[inside] = tissue.hu, rng.uniform(*tissue.suv)

    paint(_body(grid, fat_mm=rng.uniform(6, 24)), FAT)
    paint(_body(grid, fat_mm=0), MUSCLE)
    for shape in (*HEAD, ABDOMEN, *SKELETON):
        paint(shape.contains(grid), shape.tissue)
    paint(_ribs(grid), BONE)
    for organ in ORGANS:
        center = rng.normal(organ.center, 3).tolist()
        radii = (rng.uniform(0.9, 1.1) * np.array(organ.radii)).tolist()
        paint(organ._replace(center=center, radii=radii).contains(grid), organ.tissue)
    return hu, suv


def _body(grid: Coordinates, fat_mm: float) -> NDArray[np.bool_]:
    """Return trunk and limbs under `fat_mm` of subcutaneous fat; limbs carry half of it."""
    z, y, x = grid
    height, depth, width = TRUNK.T
    half_depth, half_width = np.interp(z, height, depth) + fat_mm, np.interp(z, height, width) + fat_mm
    body = ((y / half_depth) ** 2 + (x / half_width) ** 2 <= 1) & (z >= height[0]) & (z <= height[-1])
    for limb in LIMBS:
        start, end = limb.radii
        body |= limb._replace(radii=(start + fat_mm / 2, end + fat_mm / 2)).contains(grid)
    return body


def _ribs(grid: Coordinates) -> NDArray[np.bool_]:
    """Return the chest's shell, cut into ribs that descend from the spine to the front."""
    z, y, _ = grid
    interior = CHEST._replace(radii=np.subtract(CHEST.radii, RIB_MM).tolist())
    in_rib = (z - y / 3) % RIB_INTERVAL_MM < RIB_MM
    return CHEST.contains(grid) & ~interior.contains(grid) & in_rib


def _add_findings(hu: NDArray, suv: NDArray, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Put lesions and as many of each distractor into free lung, fat and muscle; return the lesions."""
    lesions = np.zeros(SHAPE, np.uint8)
    grid = _grid()
    free = np.isin(hu, LESION.hosts)
    # Beyond the image's border nothing is free, or findings would be cut there.
    room_mm = distance_transform_edt(np.pad(free, 1), sampling=SPACING_MM)[1:-1, 1:-1, 1:-1]
    findings = [LESION, COLD_NODULE, HOT_FAT] * rng.integers(*FINDINGS_OF_EACH_KIND, endpoint=True)
    rng.shuffle(findings)  # a fixed order would leave the last kind less room
    for finding in findings:
        voxel = tuple(rng.choice(np.argwhere((room_mm >= ROOM_MM) & np.isin(hu, finding.hosts))))
        center = [axis.ravel()[i] for axis, i in zip(grid, voxel, strict=True)]
        smallest, largest = FINDING_RADIUS_MM
        radii = rng.uniform(smallest, min(largest, room_mm[voxel]), 3)
        inside = Ellipsoid(center, radii.tolist(), MUSCLE).contains(grid)
        hu[inside], suv[inside] = rng.uniform(*finding.hu), rng.uniform(*finding.suv)
        lesions[inside] = finding is LESION
        distance_mm = np.sqrt(sum((axis - c) ** 2 for axis, c in zip(grid, center, strict=True)))
        room_mm = np.minimum(room_mm, distance_mm - radii.max() - max(SPACING_MM))
    return lesions


def _blur(image: NDArray, fwhm_mm: float) -> NDArray:
    """Blur as a scanner does whose point response has this full width at half maximum."""
    sigma_mm = fwhm_mm / np.sqrt(8 * np.log(2))
    return gaussian_filter(image, [sigma_mm / spacing for spacing in SPACING_MM])


def _write_image(volume: NDArray, file: Path) -> None:
    image = SimpleITK.GetImageFromArray(volume)
    image.SetSpacing(SPACING_MM[::-1])
    with replacing(file) as temporary:
        SimpleITK.WriteImage(image, str(temporary))


def _write_dataset_json(folder: Path, num_training: int) -> None:
    description = {
        # nnU-Net normalizes a channel named "CT" over the dataset's intensities and any other per image.
        "channel_names": {str(CT): "CT", str(PET): "PET"},
        "labels": {"background": 0, "tumor": 1},
        "numTraining": num_training,
        "file_ending": FILE_ENDING,
    }
    write_json(folder / "dataset.json", description)
