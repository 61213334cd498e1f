"""A case as grand-challenge delivers it, to test an image without patients: a body with a hot ball in it."""

from pathlib import Path

import numpy as np
import SimpleITK

from h2aseg_nnunet.petct.challenge.interfaces import CT, PET, Interface
from h2aseg_nnunet.petct.files import replacing, write_json

CT_NAME, PET_NAME = "3f1c5a52-6a0e-4b43-9d70-0f2c8a5d9c11", "b8d2e7a4-91c3-4f6e-8a25-57e0c4f3d622"
"""Names of the two images: uuids that differ."""

SIZE, SPACING_MM = 64, 4.0


def write_sample(folder: Path, interface: Interface) -> None:
    """Write CT, PET and the further inputs of a challenge below a folder; on one grid, or on two where it has two."""
    z, y, x = np.indices((SIZE,) * 3)
    body = ((y - SIZE / 2) / 20) ** 2 + ((x - SIZE / 2) / 26) ** 2 < 1
    ball = (z - 40) ** 2 + (y - 28) ** 2 + (x - 40) ** 2 < 5**2
    ct = np.where(body, 40.0, -1000.0) + 10 * ball
    pet = np.where(body, 1.0, 0.0) + 9 * ball
    _write(folder / CT / f"{CT_NAME}.mha", ct, SPACING_MM)
    step = 2 if interface.grid == "ct" else 1
    _write(folder / PET / f"{PET_NAME}.mha", pet[::step, ::step, ::step], SPACING_MM * step)
    for name in interface.inputs:
        write_json(folder / name, {})


def _write(file: Path, array: np.ndarray, spacing_mm: float) -> None:
    image = SimpleITK.GetImageFromArray(array.astype(np.float32))
    image.SetSpacing((spacing_mm,) * 3)
    with replacing(file) as temporary:
        SimpleITK.WriteImage(image, str(temporary), True)
