"""A small patient without faults, and datasets of such patients for the tests to break."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.synthetic import Patient, Tissue, paint, read_array, write_image

SHAPE = (24, 30, 40)  # z, y, x
SPACING_MM = 4.0


def make_patient(seed: int = 0) -> Patient:
    """A trunk of fat and muscle with lungs at one end, a bone and a tumor under the skin."""
    rng = np.random.default_rng(seed)
    z, y, x = np.ogrid[tuple(slice(n) for n in SHAPE)]
    radius = ((y - 14) / 10) ** 2 + ((x - 18 - 0.1 * z) / 14) ** 2 + 0 * z  # not symmetric, slightly oblique
    ct, pet, tumor = paint(
        SHAPE,
        Tissue(radius < 1, hu=-100, suv=0.4),
        Tissue(radius < 0.7, hu=50, suv=0.7),
        Tissue((radius < 0.35) & (z > 14), hu=-850, suv=0.4),
        Tissue((y - 19) ** 2 + (x - 20) ** 2 + 0 * z < 6, hu=800, suv=0.9),
        Tissue((z - 8) ** 2 + (y - 8) ** 2 + (x - 18 - seed % 3) ** 2 < 9, hu=45, suv=8, label=1),
    )
    ct, pet = ct + rng.normal(0, 12, SHAPE), pet + rng.normal(0, 0.03, SHAPE)
    return Patient(ct.astype(np.int16), pet.clip(min=0).astype(np.float32), tumor)


class RawDataset:
    """Dataset701_Test, and ways to read and replace its files."""

    def __init__(self, root: Path, num_cases: int = 2):
        self.root = root
        self.write_json(numTraining=num_cases)
        for case in range(num_cases):
            self.write_case(case)

    def write_json(self, **changes) -> None:
        content = {
            "channel_names": {"0": "CT", "1": "CT"},
            "labels": {"background": 0, "tumor": 1},
            "numTraining": 2,
            "file_ending": ".nii.gz",
        }
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "dataset.json").write_text(json.dumps(content | changes))

    def write_case(self, case: int, split: str = "Tr", seed: int | None = None) -> None:
        ct, pet, label = make_patient(case if seed is None else seed)
        self.write(self.image(case, 0, split), ct)
        self.write(self.image(case, 1, split), pet)
        if split == "Tr":
            self.write(self.label(case), label)

    def image(self, case: int, channel: int, split: str = "Tr") -> Path:
        return self.root / f"images{split}" / f"case_{case:02d}_{channel:04d}.nii.gz"

    def label(self, case: int) -> Path:
        return self.root / "labelsTr" / f"case_{case:02d}.nii.gz"

    def write(self, file: Path, volume: NDArray, spacing_mm=SPACING_MM, origin_mm=0.0, direction=None) -> None:
        write_image(file, volume, spacing_mm, origin_mm, direction)

    def change(self, file: Path, change) -> None:
        """Replace the voxels of a file by `change` of them."""
        self.write(file, change(read_array(file)))

    def truncate(self, file: Path) -> None:
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])

    def damage(self, file: Path) -> None:
        """Another byte in the compressed voxels: gzip's checksum no longer fits."""
        content = bytearray(file.read_bytes())
        content[-5] ^= 0xFF
        file.write_bytes(bytes(content))

    def promise_more_slices(self, file: Path) -> None:
        """A header of ten times as many slices as there are in the file."""
        content = bytearray(gzip.decompress(file.read_bytes()))
        content[46:48] = (int.from_bytes(content[46:48], "little") * 10).to_bytes(2, "little")
        file.write_bytes(gzip.compress(bytes(content)))


@pytest.fixture
def patient() -> Patient:
    return make_patient()


@pytest.fixture
def dataset(tmp_path, monkeypatch) -> RawDataset:
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    return RawDataset(tmp_path / "Dataset701_Test")
