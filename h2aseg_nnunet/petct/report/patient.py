"""The patient as readers see them: CT, PET and lesions in the patient's axes, cut to the body."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from scipy import ndimage
from SimpleITK import Image

from h2aseg_nnunet.petct.images.orientation import CaseImages, finite_array, like, spacing_zyx_mm, to_patient_axes
from h2aseg_nnunet.petct.report.findings import OUTLINE_BITS, Finding, Findings

AIR_HU = -1024
BODY_HU = -300
UPTAKE_SUV = 1.0  # beside the body: a urine bag, or arms outside the CT's field of view
SMALLEST_ML = 4.0  # less uptake than this is noise
MARGIN_MM = 15.0
COARSE_MM = 8.0  # shows where the body is in a fraction of a second

Box = tuple[slice, ...]


class Spot(NamedTuple):
    """Where a finding lies in the patient's axes, and its mask within that box."""

    finding: Finding
    box: Box
    mask: NDArray[np.bool_]


class Marked(NamedTuple):
    """One class drawn in the patient's axes: its findings, and sums of `OUTLINE_BITS` (z, y, x)."""

    spots: list[Spot]
    outlines: NDArray[np.uint8]


class Patient(NamedTuple):
    """Volumes whose axes (z, y, x) grow to head, back and left.

    Attributes:
        ct_hu, suv: CT and PET on one grid.
        spacing_mm, origin_mm: In the order of the axes; where the first voxel is in the scanner's coordinates.
        classes: What was found, one by one.
    """

    ct_hu: NDArray
    suv: NDArray
    spacing_mm: tuple[float, ...]
    origin_mm: tuple[float, ...]
    classes: list[Marked]


def patient(images: CaseImages, classes: Sequence[Findings]) -> Patient:
    """Turn everything into the patient's axes, and cut off the air around the body."""
    pet = to_patient_axes(images.pet)
    ct_hu, suv = finite_array(to_patient_axes(images.ct, outside=AIR_HU)), finite_array(pet)
    spacing_mm = spacing_zyx_mm(pet)
    marked = [_mark(findings, images.pet) for findings in classes]
    body = body_box(ct_hu, suv, spacing_mm, [spot.box for each in marked for spot in each.spots])
    first = [part.start for part in reversed(body)]
    origin_mm = pet.TransformIndexToPhysicalPoint(first)[::-1]
    return Patient(ct_hu[body], suv[body], spacing_mm, origin_mm, [_cut(each, body) for each in marked])


def body_box(ct_hu: NDArray, suv: NDArray, spacing_mm: Sequence[float], boxes: Sequence[Box] = ()) -> Box:
    """The body, uptake beside it, and whatever lies in `boxes`, with a margin; everything if there is no body.

    Args:
        ct_hu: CT (z, y, x).
        suv: PET on the same grid.
        spacing_mm: In the order of the arrays' axes.
        boxes: Of lesions: a false one in the air must be seen.
    """
    shape = np.array(ct_hu.shape)
    step = np.array([max(1, round(COARSE_MM / size)) for size in spacing_mm])
    coarse = tuple(slice(None, None, each) for each in step)
    smallest = float(SMALLEST_ML * 1000 / np.prod(step * spacing_mm))
    body = _largest_component(ct_hu[coarse] > BODY_HU) | _components(suv[coarse] > UPTAKE_SUV, smallest)
    if not body.any():
        return tuple(slice(0, int(size)) for size in shape)
    inside = np.argwhere(body) * step
    low = np.min([inside.min(axis=0) - step + 1, *([part.start for part in box] for box in boxes)], axis=0)
    high = np.max([inside.max(axis=0) + step, *([part.stop for part in box] for box in boxes)], axis=0)
    margin = np.ceil(MARGIN_MM / np.array(spacing_mm)).astype(int)
    low, high = np.maximum(low - margin, 0), np.minimum(high + margin, shape)
    return tuple(slice(int(start), int(stop)) for start, stop in zip(low, high, strict=True))


def _largest_component(mask: NDArray) -> NDArray[np.bool_]:
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == sizes.argmax() if sizes.any() else mask


def _components(mask: NDArray, smallest: float) -> NDArray[np.bool_]:
    """Components of at least so many voxels."""
    labels, _ = ndimage.label(mask)
    keep = np.bincount(labels.ravel()) >= smallest
    keep[0] = False
    return keep[labels]


def _mark(findings: Findings, image: Image) -> Marked:
    """A lesion that falls between the voxels of a resampled oblique image keeps the one at its centre."""
    turned, turned_outlines = (
        to_patient_axes(like(array, image), labels=True) for array in (findings.numbers, findings.outlines)
    )
    numbers, outlines = SimpleITK.GetArrayFromImage(turned), SimpleITK.GetArrayFromImage(turned_outlines)
    boxes = ndimage.find_objects(numbers, max_label=len(findings.listed))
    for i, finding in enumerate(findings.listed):
        if boxes[i] is None:
            index = turned.TransformPhysicalPointToIndex(finding.position_mm)[::-1]
            boxes[i] = tuple(slice(at, at + 1) for at in index)
            numbers[index] = i + 1
            outlines[index] |= OUTLINE_BITS[finding.kind]
    spots = [
        Spot(finding, box, numbers[box] == number)
        for number, (finding, box) in enumerate(zip(findings.listed, boxes, strict=True), start=1)
    ]
    return Marked(spots, outlines)


def _cut(marked: Marked, body: Box) -> Marked:
    def shifted(box: Box) -> Box:
        return tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(box, body, strict=True))

    return Marked([spot._replace(box=shifted(spot.box)) for spot in marked.spots], marked.outlines[body])
