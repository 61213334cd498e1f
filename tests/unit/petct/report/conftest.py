"""Small patients with known lesions, in nnU-Net's layout."""

import json
from pathlib import Path

import numpy as np
import SimpleITK

from tests.synthetic import Tissue, make_image, paint

SHAPE = (20, 12, 16)  # z, y, x
SPACING_MM = (4.0, 3.0, 2.0)  # x, y, z
ORIGIN_MM = (-30.0, 10.0, 500.0)

TRUE, MISSED, FALSE = (slice(2, 5), slice(3, 5), slice(4, 8)), (10, 8, 3), (slice(15, 17), 5, 12)
"""24 voxels of which the prediction has 12, 1 voxel it does not have, and 2 voxels that only the prediction has."""


def image(array, spacing_mm=SPACING_MM, origin_mm=ORIGIN_MM):
    return make_image(array, spacing_mm, origin_mm)


def arrays():
    """CT with a body in air, PET with SUV 8, 6 and 4 in the three lesions, reference and prediction."""
    body = (slice(1, 19), slice(2, 11), slice(2, 14))
    ct, pet, reference = paint(
        SHAPE,
        Tissue(body, hu=40, suv=0.5),
        *(Tissue(where, hu=40, suv=suv, label=1) for where, suv in ((TRUE, 8), (MISSED, 6))),
        Tissue(FALSE, hu=40, suv=4),
        background_suv=0.5,
    )
    prediction = np.zeros_like(reference)
    prediction[TRUE] = prediction[FALSE] = 1
    prediction[:, 4] = 0  # the back half of the true lesion
    return {"ct": ct.astype(np.int16), "pet": pet, "reference": reference, "prediction": prediction}


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
