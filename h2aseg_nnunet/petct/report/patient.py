"""The patient as readers see them: CT, PET and lesions in the patient's axes, cut to the body."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from scipy import ndimage
from SimpleITK import Image

from h2aseg_nnunet.petct.images.body import AIR_HU, Box, body_box
from h2aseg_nnunet.petct.images.orientation import finite_array, like, spacing_zyx_mm, to_patient_axes
from h2aseg_nnunet.petct.report.cohort import CaseImages
from h2aseg_nnunet.petct.report.judge import OUTLINE_BITS, JudgedClass, JudgedLesion


class Spot(NamedTuple):
    """Where a lesion lies in the patient's axes, and its mask within that box."""

    lesion: JudgedLesion
    box: Box
    mask: NDArray[np.bool_]


class Marked(NamedTuple):
    """One class drawn in the patient's axes: its lesions, and sums of `OUTLINE_BITS` (z, y, x)."""

    spots: list[Spot]
    outlines: NDArray[np.uint8]


class Patient(NamedTuple):
    """Volumes whose axes (z, y, x) grow to head, back and left.

    Attributes:
        ct_hu, suv: CT and PET on one grid.
        spacing_mm: Size of the voxels in the order of the axes.
        origin_mm: Center of the first voxel in the scanner's coordinates, in the order of the axes.
        classes: The classes with their lesions.
    """

    ct_hu: NDArray
    suv: NDArray
    spacing_mm: tuple[float, ...]
    origin_mm: tuple[float, ...]
    classes: list[Marked]


def see_patient(images: CaseImages, classes: Sequence[JudgedClass]) -> Patient:
    """Turn everything into the patient's axes, and cut off the air around the body."""
    pet = to_patient_axes(images.pet)
    ct_hu, suv = finite_array(to_patient_axes(images.ct, outside=AIR_HU)), finite_array(pet)
    spacing_mm = spacing_zyx_mm(pet)
    marked = [_mark(judged, images.pet) for judged in classes]
    body = body_box(ct_hu, suv, spacing_mm, [spot.box for each in marked for spot in each.spots])
    first = [part.start for part in reversed(body)]
    origin_mm = pet.TransformIndexToPhysicalPoint(first)[::-1]
    return Patient(ct_hu[body], suv[body], spacing_mm, origin_mm, [_cut(each, body) for each in marked])


def _mark(judged: JudgedClass, image: Image) -> Marked:
    """A lesion that falls between the voxels of a resampled oblique image keeps the one at its center."""
    turned, turned_outlines = (
        to_patient_axes(like(array, image), labels=True) for array in (judged.numbers, judged.outlines)
    )
    numbers, outlines = SimpleITK.GetArrayFromImage(turned), SimpleITK.GetArrayFromImage(turned_outlines)
    boxes = ndimage.find_objects(numbers, max_label=len(judged.lesions))
    for i, lesion in enumerate(judged.lesions):
        if boxes[i] is None:
            index = turned.TransformPhysicalPointToIndex(lesion.position_mm)[::-1]
            boxes[i] = tuple(slice(at, at + 1) for at in index)
            numbers[index] = i + 1
            outlines[index] |= OUTLINE_BITS[lesion.kind]
    spots = [
        Spot(lesion, box, numbers[box] == number)
        for number, (lesion, box) in enumerate(zip(judged.lesions, boxes, strict=True), start=1)
    ]
    return Marked(spots, outlines)


def _cut(marked: Marked, body: Box) -> Marked:
    def shifted(box: Box) -> Box:
        return tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(box, body, strict=True))

    return Marked([spot._replace(box=shifted(spot.box)) for spot in marked.spots], marked.outlines[body])
