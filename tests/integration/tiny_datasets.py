"""Synthetic PET/CT datasets of a few tiny cases, one per kind of labels, in nnU-Net's layout."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from tests.synthetic import Patient, Tissue, ball, paint, write_case

SPACING_MM = 4.0
NUM_CASES = 5  # nnU-Net's five folds validate one case each
SCHEMES: dict[str, dict] = {
    "binary": {"labels": {"background": 0, "tumor": 1}},
    "classes": {"labels": {"background": 0, "rim": 1, "core": 2}},
    "regions": {"labels": {"background": 0, "tumor": [1, 2], "core": [2]}, "regions_class_order": [1, 2]},
    "ignore": {"labels": {"background": 0, "tumor": 1, "ignore": 2}},
    "regions_ignore": {
        "labels": {"background": 0, "tumor": [1, 2], "core": [2], "ignore": 3},
        "regions_class_order": [1, 2],
    },
    "one_region": {"labels": {"background": 0, "tumor": [1, 2]}, "regions_class_order": [1]},
}
DATASET_IDS = {scheme: 901 + index for index, scheme in enumerate(SCHEMES)}


def synthetic_case(scheme: str, index: int) -> Patient:
    """Make a patient with a spherical tumor with a core, dense in CT and hot in PET, in a body of soft tissue.

    With an ignore label, the upper third is not annotated.
    """
    rng = np.random.default_rng((DATASET_IDS[scheme], index))
    shape = np.array((20, 18, 22)) - rng.integers(0, 3, 3)
    center = shape / 2 + rng.uniform(-2, 2, 3)
    points = np.stack(np.indices(shape), -1)
    body = np.linalg.norm((points - shape / 2) / (0.48 * shape), axis=-1) <= 1
    ct, pet, label = paint(
        shape,
        Tissue(body, hu=20, suv=1),
        Tissue(ball(shape, center, 5), hu=80, suv=6, label=1),
        Tissue(ball(shape, center, 3), hu=80, suv=12, label=1 if scheme in ("binary", "ignore") else 2),
    )
    ignore = SCHEMES[scheme]["labels"].get("ignore")
    if ignore is not None:
        label[-len(label) // 3 :] = ignore
    ct, pet = ct + rng.normal(0, 10, shape), pet * rng.uniform(0.8, 1.2, shape)
    return Patient(ct.astype(np.float32), pet.astype(np.float32), label)


def read_probabilities(folder: Path) -> dict[str, np.ndarray]:
    """What --save_probabilities or --npz wrote: (classes or regions, z, y, x) of each case."""
    return {file.stem: np.load(file)["probabilities"] for file in sorted(folder.glob("*.npz"))}


class Dataset(SimpleNamespace):
    """Where one dataset lies. `scheme` is a key of SCHEMES, `id` a string as commands take it."""

    id: str
    name: str
    scheme: str
    raw: Path
    preprocessed: Path
    results: Path

    @property
    def description(self) -> dict:
        return json.loads((self.raw / "dataset.json").read_text())

    @property
    def cases(self) -> list[str]:
        return sorted(file.name.removesuffix(".nii.gz") for file in (self.raw / "labelsTr").iterdir())

    def plans(self, name: str = "nnUNetPlans") -> dict:
        return json.loads((self.preprocessed / f"{name}.json").read_text())

    def model(
        self,
        configuration: str = "3d_fullres",
        trainer: str = "nnUNetTrainerH2ASegShort",
        plans: str = "nnUNetPlans",
    ) -> Path:
        return self.results / f"{trainer}__{plans}__{configuration}"


def write_raw_dataset(dataset: Dataset) -> None:
    for index in range(NUM_CASES):
        spacing_mm = 5.0 if index == 1 else SPACING_MM  # one case that preprocessing resamples
        write_case(dataset.raw, f"case_{index}", synthetic_case(dataset.scheme, index), spacing_mm=spacing_mm)
    description = SCHEMES[dataset.scheme] | {
        "channel_names": {"0": "CT", "1": "PET"},
        "numTraining": NUM_CASES,
        "file_ending": ".nii.gz",
    }
    (dataset.raw / "dataset.json").write_text(json.dumps(description))
