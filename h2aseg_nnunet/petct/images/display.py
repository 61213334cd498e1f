"""How readers look at a patient: gray values and colors of CT and PET, and three views of a volume.

Volumes have axes (z, y, x) that grow to the head, to the back and to the patient's left.
"""

import base64
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CT_WINDOW_HU = (-160.0, 240.0)
"""Soft tissue: level 40, width 400."""

UPTAKE_OPACITY = 0.7
"""Opacity of the hottest PET over CT: anatomy stays visible below."""


class View(NamedTuple):
    """A direction of looking, with the sides of the patient at the edges of the picture.

    Attributes:
        name: What radiologists call it.
        axis: The axis of the volume that is projected or cut.
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
    """Order rows from the top of the picture to its bottom: z grows to the head, which is up; y grows to the back."""
    return plane[::-1] if view.top == "H" else plane


def maximum_projection(volume: NDArray, view: View) -> NDArray:
    """Return the maximum-intensity projection of a volume (z, y, x), rows from top to bottom."""
    return as_seen(volume.max(axis=view.axis), view)


def shadow(bits: NDArray, view: View) -> NDArray:
    """Return every bit that is set anywhere along the ray through a volume (z, y, x) of integers, as seen."""
    return as_seen(np.bitwise_or.reduce(bits, axis=view.axis), view)


def pixel_size_mm(spacing_mm: Sequence[float], view: View) -> tuple[float, float]:
    """Return height and width of the view's pixels, given the volume's spacing (z, y, x)."""
    height, width = (size for axis, size in enumerate(spacing_mm) if axis != view.axis)
    return height, width


def seen_box(box: tuple[slice, ...], depth: int, view: View) -> tuple[slice, slice]:
    """Return the rows and columns of the view that a box (z, y, x) takes, in a volume of `depth` axial slices."""
    rows, columns = (part for axis, part in enumerate(box) if axis != view.axis)
    return (slice(depth - rows.stop, depth - rows.start) if view.top == "H" else rows), columns


def pet_gray(suv: NDArray, max_suv: float) -> NDArray[np.uint8]:
    """Turn SUV into gray values: white without uptake, black from max_suv on."""
    return _bytes(1 - suv / max_suv)


def ct_gray(hu: NDArray) -> NDArray[np.uint8]:
    """Turn HU into gray values: black at the window's lower end and below, white at its upper end and above."""
    low, high = CT_WINDOW_HU
    return _bytes((hu - np.float32(low)) / (high - low))


def fused(hu: NDArray, suv: NDArray, max_suv: float) -> NDArray[np.uint8]:
    """Lay the PET in hot-metal colors over the CT, the more opaque the higher the uptake; (..., 3)."""
    uptake = np.clip(suv / max_suv, 0, 1)[..., None]
    opacity = UPTAKE_OPACITY * np.clip(2 * uptake, 0, 1)  # lesions of a few SUV must show
    return _bytes((1 - opacity) * (ct_gray(hu)[..., None] / 255) + opacity * hot_metal(uptake))


def hot_metal(value: NDArray) -> NDArray:
    """Color 0 to 1 black, red, yellow, white; the last axis, of length 1, becomes the three colors."""
    return np.clip(3 * value - np.arange(3), 0, 1)


def png_uri(pixels: NDArray[np.uint8]) -> str:
    """Encode pixels without loss, for inclusion in a page."""
    return _uri(pixels, "png", optimize=True)


def jpeg_uri(pixels: NDArray[np.uint8]) -> str:
    """Encode a picture that serves orientation: a fifth of a PNG's size where CT is noisy."""
    return _uri(pixels, "jpeg", quality=88, subsampling=0)


def _bytes(values: NDArray) -> NDArray[np.uint8]:
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _uri(pixels: NDArray[np.uint8], kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
