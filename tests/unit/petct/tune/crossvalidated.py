"""A cross-validated model as nnU-Net leaves it, with its raw dataset, of painted cases."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.synthetic import write_image

SHAPE = (8, 10, 12)
SPACING_MM = 5.0
VOXEL_ML = 0.125
DATASET = "Dataset321_Tune"


class Painted(NamedTuple):
    """A case: reference, PET, and the probability that a model gives."""

    reference: NDArray
    suv: NDArray
    probability: NDArray


def paint(lesion_suv: float = 8.0, false: int = 0, ill: bool = True) -> Painted:
    """A lesion of 3 x 3 x 3 voxels (3.4 ml) that the model finds, and single voxels (0.125 ml) that it invents.

    Even so small, a false lesion has the lesion's probability and uptake: only its volume tells.
    """
    reference, suv, probability = np.zeros(SHAPE, np.uint8), np.full(SHAPE, 0.5), np.full(SHAPE, 0.02)
    if ill:
        reference[2:5, 2:5, 2:5] = 1
        suv[2:5, 2:5, 2:5], probability[2:5, 2:5, 2:5] = lesion_suv, 0.9
    for number in range(false):
        place = (6, 2 * number, 9)
        suv[place], probability[place] = lesion_suv, 0.9
    return Painted(reference, suv, probability)


def write_model(folder: Path, cases: list[Painted], change: Callable[[NDArray], NDArray] | None = None) -> Path:
    """Write the raw dataset below folder/nnUNet_raw and the model, and return the model's folder."""
    raw, model = folder / "nnUNet_raw" / DATASET, folder / "nnUNet_results" / DATASET / "nnUNetTrainer__P__3d_fullres"
    description = {
        "channel_names": {"0": "CT", "1": "PET"},
        "labels": {"background": 0, "tumor": 1},
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
    }
    for place in (raw, model):
        place.mkdir(parents=True)
        (place / "dataset.json").write_text(json.dumps(description))
    (model / "plans.json").write_text(json.dumps({"dataset_name": DATASET, "plans_name": "P"}))
    for fold in range(2):
        (model / f"fold_{fold}" / "validation").mkdir(parents=True)
        (model / f"fold_{fold}" / "checkpoint_final.pth").write_bytes(f"weights {fold}".encode())
        (model / f"fold_{fold}" / "validation" / "summary.json").write_text("{}")  # nnU-Net writes it last
    for number, case in enumerate(cases):
        name = f"case_{number:02d}"
        write_image(raw / "labelsTr" / f"{name}.nii.gz", case.reference, SPACING_MM)
        write_image(raw / "imagesTr" / f"{name}_0000.nii.gz", np.zeros(SHAPE, np.float32), SPACING_MM)
        write_image(raw / "imagesTr" / f"{name}_0001.nii.gz", case.suv.astype(np.float32), SPACING_MM)
        write_prediction(model / f"fold_{number % 2}" / "validation", name, case)
    return model


def write_prediction(folder: Path, name: str, case: Painted) -> None:
    """What nnU-Net writes of a case with --npz."""
    write_image(folder / f"{name}.nii.gz", (case.probability > 0.5).astype(np.uint8), SPACING_MM)
    probabilities = np.stack([1 - case.probability, case.probability]).astype(np.float32)
    np.savez_compressed(folder / f"{name}.npz", probabilities=probabilities)
