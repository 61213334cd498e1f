"""Small patients with known lesions, in nnU-Net's layout."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

SHAPE = (20, 12, 16)  # z, y, x
SPACING_MM = (4.0, 3.0, 2.0)  # x, y, z
ORIGIN_MM = (-30.0, 10.0, 500.0)

TRUE, MISSED, FALSE = (slice(2, 5), slice(3, 5), slice(4, 8)), (10, 8, 3), (slice(15, 17), 5, 12)
"""24 voxels of which the prediction has 12, 1 voxel it does not have, and 2 voxels that only the prediction has."""


def image(array, spacing_mm=SPACING_MM, origin_mm=ORIGIN_MM):
    made = SimpleITK.GetImageFromArray(np.asarray(array))
    made.SetSpacing(spacing_mm)
    made.SetOrigin(origin_mm)
    return made


def arrays():
    """CT with a body in air, PET with SUV 8, 6 and 4 in the three lesions, reference and prediction."""
    ct = np.full(SHAPE, -1000, np.int16)
    ct[1:19, 2:11, 2:14] = 40
    pet = np.full(SHAPE, 0.5, np.float32)
    pet[TRUE], pet[MISSED], pet[FALSE] = 8, 6, 4
    reference, prediction = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    reference[TRUE] = reference[MISSED] = 1
    prediction[TRUE] = prediction[FALSE] = 1
    prediction[:, 4] = 0  # the back half of the true lesion
    return {"ct": ct, "pet": pet, "reference": reference, "prediction": prediction}


class Folders:
    """Images, predictions and references of a cohort, and where the report goes."""

    def __init__(self, root: Path):
        self.images, self.predictions, self.references = root / "imagesTs", root / "predictions", root / "labelsTs"
        self.output = root / "report"
        for folder in (self.images, self.predictions, self.references):
            folder.mkdir()
        self.describe({"background": 0, "tumor": 1})

    def describe(self, labels, folder=None, **more):
        """Write dataset.json, beside the predictions or into another folder."""
        content = {"channel_names": {"0": "CT", "1": "PET"}, "labels": labels, "file_ending": ".nii.gz"} | more
        ((folder or self.predictions) / "dataset.json").write_text(json.dumps(content))

    def add(self, name, change=lambda image: image, **replaced):
        files = {
            "ct": self.images / f"{name}_0000.nii.gz",
            "pet": self.images / f"{name}_0001.nii.gz",
            "reference": self.references / f"{name}.nii.gz",
            "prediction": self.predictions / f"{name}.nii.gz",
        }
        for kind, array in (arrays() | replaced).items():
            SimpleITK.WriteImage(change(image(array)), str(files[kind]))
        return files

    def arguments(self, *more):
        """Of the command, with references."""
        return ["report", *self._options("-i", self.images, "-p", self.predictions, "-o", self.output), *more]

    def with_references(self, *more):
        return self.arguments("-r", str(self.references), *more)

    @staticmethod
    def _options(*values):
        return map(str, values)


@pytest.fixture
def folders(tmp_path):
    return Folders(tmp_path)
