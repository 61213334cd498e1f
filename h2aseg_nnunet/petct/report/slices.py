"""Axial slices through a lesion: where it is in the body, then CT, PET and both at close range."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.petct.images.body import Box
from h2aseg_nnunet.petct.images.display import AXIAL, ct_gray, fused, jpeg_uri, pet_gray, pixel_size_mm, png_uri
from h2aseg_nnunet.petct.report.judge import JudgedLesion
from h2aseg_nnunet.petct.report.panel import Frame, Panel, draw_outlines, scale_bar
from h2aseg_nnunet.petct.report.patient import Marked, Patient, Spot

PANEL_HEIGHT = 300.0
"""Height of a panel in CSS pixels."""

CLOSE_UP_MM = 140.0
SURROUNDINGS_MM = 30.0
"""Margin around a lesion whose close-up needs to be larger."""

CLOSE_TO_WHOLE = 0.7
"""A close-up that would show this share of the slice's height and width shows all of it."""


class SliceRow(NamedTuple):
    """One lesion in the axial slice where it is largest.

    Attributes:
        lesion: The lesion.
        height_mm: Position of the slice in the scanner's coordinates, which grow towards the head.
        panels: The whole slice, and close-ups of the region framed in it.
    """

    lesion: JudgedLesion
    height_mm: float
    panels: list[Panel]


class _Plane(NamedTuple):
    """An axial slice: CT, PET, and sums of `OUTLINE_BITS`."""

    ct_hu: NDArray
    suv: NDArray
    bits: NDArray


def slice_row(patient: Patient, marked: Marked, spot: Spot, max_suv: float) -> SliceRow:
    """Draw the panels of one lesion."""
    z = spot.box[0].start + int(spot.mask.sum(axis=(1, 2)).argmax())
    slice_ = _Plane(patient.ct_hu[z], patient.suv[z], marked.outlines[z])
    spacing_mm = pixel_size_mm(patient.spacing_mm, AXIAL)
    window = close_up(spot.box[1:], slice_.suv.shape, spacing_mm)
    close = _Plane(*(plane[window] for plane in slice_))
    name = spot.lesion.name
    panels = []
    if close.suv.size < slice_.suv.size:
        whole = jpeg_uri(fused(slice_.ct_hu, slice_.suv, max_suv))
        panels.append(_panel(whole, slice_, spacing_mm, "PET over CT", f"Whole axial slice through {name}", window))
    for pixels, caption in (
        (ct_gray(close.ct_hu), "CT"),
        (pet_gray(close.suv, max_suv), "PET"),
        (fused(close.ct_hu, close.suv, max_suv), "PET over CT"),
    ):
        panels.append(_panel(png_uri(pixels), close, spacing_mm, caption, f"Axial {caption} close to {name}"))
    return SliceRow(spot.lesion, patient.origin_mm[0] + z * patient.spacing_mm[0], panels)


def close_up(box: Box, shape: tuple[int, ...], spacing_mm: tuple[float, ...]) -> Box:
    """Return the square around a lesion's box, in rows and columns, as far as the slice reaches.

    It is the whole slice where little would be left out.
    """
    extents_mm = [(part.stop - part.start) * size for part, size in zip(box, spacing_mm, strict=True)]
    side_mm = max(CLOSE_UP_MM, *(extent + 2 * SURROUNDINGS_MM for extent in extents_mm))
    if all(side_mm >= CLOSE_TO_WHOLE * pixels * size for pixels, size in zip(shape, spacing_mm, strict=True)):
        return tuple(slice(0, pixels) for pixels in shape)
    window = []
    for part, pixels, size_mm in zip(box, shape, spacing_mm, strict=True):
        length = min(pixels, round(side_mm / size_mm))
        centered = round((part.start + part.stop - length) / 2)
        start = min(max(centered, 0), pixels - length)
        window.append(slice(start, start + length))
    return tuple(window)


def _panel(
    image: str, plane: _Plane, spacing_mm: tuple[float, float], caption: str, alt: str, frame: Box | None = None
) -> Panel:
    height_mm, width_mm = np.multiply(plane.bits.shape, spacing_mm)
    scale = PANEL_HEIGHT / height_mm
    pixel_height, pixel_width = (size * scale for size in spacing_mm)
    return Panel(
        image=image,
        width=width_mm * scale,
        height=PANEL_HEIGHT,
        view=AXIAL,
        caption=caption,
        alt=alt,
        outlines=draw_outlines(plane.bits, pixel_height, pixel_width),
        scale_bar=scale_bar(width_mm, scale),
        frame=Frame.around(frame[0], frame[1], pixel_height, pixel_width) if frame else None,
        dark=caption != "PET",
    )
