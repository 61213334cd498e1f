"""How readers look at a patient: three views of an LPS volume, and which side of the patient is where in them.

Volumes have axes (z, y, x) that grow to the head, to the back and to the patient's left.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class View(NamedTuple):
    """A direction of looking, with the sides of the patient at the edges of the picture.

    Attributes:
        name: As radiologists call it.
        axis: Of the volume, which is projected or cut.
        left, right, top, bottom: (R)ight, (L)eft, (A)nterior, (P)osterior, (H)ead or (F)eet.
    """

    name: str
    axis: int
    left: str
    right: str
    top: str
    bottom: str


AXIAL = View("axial", axis=0, left="R", right="L", top="A", bottom="P")
CORONAL = View("coronal", axis=1, left="R", right="L", top="H", bottom="F")
SAGITTAL = View("sagittal", axis=2, left="A", right="P", top="H", bottom="F")


def as_seen(plane: NDArray, view: View) -> NDArray:
    """Rows from the top of the picture to its bottom: z grows to the head, which is up; y grows to the back."""
    return plane[::-1] if view.top == "H" else plane


def maximum_projection(volume: NDArray, view: View) -> NDArray:
    """Maximum-intensity projection of a volume (z, y, x), rows from top to bottom."""
    return as_seen(volume.max(axis=view.axis), view)


def shadow(bits: NDArray, view: View) -> NDArray:
    """Every bit that is set anywhere along the ray, of a volume (z, y, x) of integers; rows from top to bottom."""
    return as_seen(np.bitwise_or.reduce(bits, axis=view.axis), view)


def pixel_size_mm(spacing_mm: tuple[float, float, float], view: View) -> tuple[float, float]:
    """Height and width of the view's pixels, of a volume of spacing (z, y, x)."""
    height, width = (size for axis, size in enumerate(spacing_mm) if axis != view.axis)
    return height, width


def seen_box(box: tuple[slice, ...], depth: int, view: View) -> tuple[slice, slice]:
    """Rows and columns of the view that a box (z, y, x) takes, in a volume of `depth` axial slices."""
    rows, columns = (part for axis, part in enumerate(box) if axis != view.axis)
    return (slice(depth - rows.stop, depth - rows.start) if view.top == "H" else rows), columns
