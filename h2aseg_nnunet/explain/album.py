"""The maps of a case: each written as NIfTI, and the axial slice through the chosen voxel kept for the figures."""

from pathlib import Path
from typing import NamedTuple

import SimpleITK
from numpy.typing import NDArray
from SimpleITK import Image

from h2aseg_nnunet.explain.voxel import Voxel
from h2aseg_nnunet.petct.images.orientation import finite_array, spacing_zyx_mm, to_patient_axes
from h2aseg_nnunet.petct.images.views import AXIAL, pixel_size_mm


class Cut(NamedTuple):
    """An axial slice in the patient's axes, rows from front to back, columns from the patient's right to left.

    Attributes:
        slice: Number of the slice.
        row, column: Of the chosen voxel.
        pixel_mm: Height and width of a pixel.
    """

    slice: int
    row: int
    column: int
    pixel_mm: tuple[float, float]

    @classmethod
    def through(cls, voxel: Voxel, image: Image) -> "Cut":
        turned = to_patient_axes(image)
        column, row, number = turned.TransformPhysicalPointToIndex(voxel.point_mm)
        return cls(number, row, column, pixel_size_mm(spacing_zyx_mm(turned), AXIAL))

    def of(self, image: Image, labels: bool = False, outside: float = 0) -> NDArray:
        return finite_array(to_patient_axes(image, outside, labels))[self.slice]


class Album:
    """Writes maps below a folder and remembers how they look in one slice."""

    def __init__(self, folder: Path, cut: Cut):
        self.folder = folder
        self.cut = cut
        self.planes: dict[str, NDArray] = {}

    def add(self, name: str, image: Image, labels: bool = False, outside: float = 0) -> None:
        """Write `name`.nii.gz.

        Args:
            name: May contain folders.
            image: On the grid of the case.
            labels: Values must not be mixed.
            outside: Value beyond the image.
        """
        file = self.folder / f"{name}.nii.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        SimpleITK.WriteImage(image, str(file), True)
        self.planes[name] = self.cut.of(image, labels, outside)
