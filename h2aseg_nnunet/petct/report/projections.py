"""Coronal and sagittal maximum-intensity projections of the PET with outlines: the whole patient at a glance."""

from collections.abc import Sequence

import numpy as np

from h2aseg_nnunet.petct.images.display import (
    CORONAL,
    SAGITTAL,
    View,
    maximum_projection,
    pet_gray,
    pixel_size_mm,
    png_uri,
    seen_box,
    shadow,
)
from h2aseg_nnunet.petct.report.panel import Frame, Panel, draw_outlines, place_labels, scale_bar
from h2aseg_nnunet.petct.report.patient import Marked, Patient, Spot

LARGEST = (740.0, 350.0)
"""Height and width in CSS pixels that a projection may take."""

THUMBNAIL = (260.0, 200.0)

LOOK = {CORONAL: "Coronal MIP, seen from the front", SAGITTAL: "Sagittal MIP, seen from the patient's left"}


def projections(patient: Patient, marked: Marked, named: Sequence[Spot], max_suv: float, alt: str) -> list[Panel]:
    """Draw both projections, at one scale.

    Args:
        patient: The patient, with PET and spacing.
        marked: The class whose outlines are drawn.
        named: Lesions that get their names.
        max_suv: SUV from which on PET is black.
        alt: What is seen, for those who do not see it.
    """
    scale = min(units_per_mm(patient, view, LARGEST) for view in LOOK)
    panels = [projection(patient, marked, named, max_suv, view, scale, alt) for view in LOOK]
    bar = scale_bar(min(panel.width for panel in panels) / scale, scale)
    return [panel._replace(scale_bar=bar) for panel in panels]


def units_per_mm(patient: Patient, view: View, largest: tuple[float, float]) -> float:
    """Return the scale at which a projection just fits."""
    shape = np.delete(patient.suv.shape, view.axis)
    return float(np.min(np.divide(largest, shape * pixel_size_mm(patient.spacing_mm, view))))


def projection(
    patient: Patient, marked: Marked, named: Sequence[Spot], max_suv: float, view: View, scale: float, alt: str
) -> Panel:
    """Draw one projection, at `scale` units per millimeter."""
    pixels = pet_gray(maximum_projection(patient.suv, view), max_suv)
    pixel_height, pixel_width = (size * scale for size in pixel_size_mm(patient.spacing_mm, view))
    height, width = pixels.shape[0] * pixel_height, pixels.shape[1] * pixel_width
    frames = [
        (spot.lesion, Frame.around(*seen_box(spot.box, len(patient.suv), view), pixel_height, pixel_width))
        for spot in named
    ]
    return Panel(
        image=png_uri(pixels),
        width=width,
        height=height,
        view=view,
        caption=LOOK[view],
        alt=f"{LOOK[view]}. {alt}",
        outlines=draw_outlines(shadow(marked.outlines, view), pixel_height, pixel_width),
        scale_bar=scale_bar(width / scale, scale),
        labels=place_labels(frames, width, height),
    )


def thumbnail(patient: Patient, max_suv: float) -> Panel:
    """Draw a small coronal projection with the outlines of all classes."""
    outlines = np.bitwise_or.reduce([marked.outlines for marked in patient.classes])
    scale = units_per_mm(patient, CORONAL, THUMBNAIL)
    return projection(patient, Marked([], outlines), [], max_suv, CORONAL, scale, alt="")
