"""One case: from its images to a page, a thumbnail, and figures for the overview."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from h2aseg_nnunet import __version__
from h2aseg_nnunet.petct.files import write_json, write_text
from h2aseg_nnunet.petct.images.lesions import voxel_volume_ml
from h2aseg_nnunet.petct.images.masks import MaskValues, leave_out_unjudged
from h2aseg_nnunet.petct.images.orientation import finite_array
from h2aseg_nnunet.petct.report.cohort import CaseImages, ReportedCase, read_case
from h2aseg_nnunet.petct.report.html import render
from h2aseg_nnunet.petct.report.judge import FALSE, FOUND, MISSED, PREDICTED, JudgedClass, JudgedLesion, Measures, judge
from h2aseg_nnunet.petct.report.panel import Panel
from h2aseg_nnunet.petct.report.patient import Marked, Patient, Spot, see_patient
from h2aseg_nnunet.petct.report.projections import projections, thumbnail
from h2aseg_nnunet.petct.report.slices import SliceRow, slice_row

LISTED = 100
"""Lesions of each kind in the table; a prediction of noise may have many thousands."""


class PageSettings(NamedTuple):
    """What is shown of a case, and how.

    Attributes:
        max_suv: SUV from which on PET is black.
        num_lesions: How many lesions of each kind are shown in slices, the largest first.
    """

    max_suv: float = 10.0
    num_lesions: int = 3


DEFAULT_SETTINGS = PageSettings()


class ClassSection(NamedTuple):
    """What the page shows of one class."""

    name: str
    measures: Measures
    listed: list[JudgedLesion]
    omitted: int
    projections: list[Panel]
    rows: list[SliceRow]


def write_case(
    files: ReportedCase, mask_values: MaskValues, settings: PageSettings, folder: Path, fingerprint: str
) -> None:
    """Write NAME.html, NAME.svg and, when both are there, NAME.json with the case's `Measures` by class.

    Args:
        files: The files of the case.
        mask_values: The values that masks may hold; those of predictions are the classes that are shown.
        settings: What is shown, and how.
        folder: Where to write.
        fingerprint: Identifies the state of files and settings.

    Raises:
        UserError: If an image cannot be read or lies on another grid, or a mask has a value that is not declared.
    """
    images = read_case(files, mask_values)
    suv = finite_array(images.pet)
    prediction, reference, unjudged = _masks(images, mask_values)
    assert mask_values.prediction is not None  # a report has a dataset.json
    classes = mask_values.prediction.labels.classes
    judged = [
        judge(np.isin(prediction, values), None if reference is None else np.isin(reference, values), suv, images.pet)
        for values in classes.values()
    ]
    seen = see_patient(images, judged)
    sections = [
        _section(name, seen, each, marked, settings)
        for name, each, marked in zip(classes, judged, seen.classes, strict=True)
    ]
    page = render(
        "case.html",
        case=files.name,
        compared=files.reference is not None,
        sections=sections,
        settings=settings,
        size=images.pet.GetSize(),
        spacing_mm=images.pet.GetSpacing(),
        unjudged_ml=unjudged * voxel_volume_ml(images.pet.GetSpacing()),
        suv_range=(float(suv.min()), float(suv.max())),
        version=__version__,
    )
    record = {
        "case": files.name,
        "fingerprint": fingerprint,
        "classes": {section.name: section.measures._asdict() for section in sections},
    }
    write_text(folder / f"{files.name}.html", page)
    write_text(folder / f"{files.name}.svg", render("thumbnail.svg", panel=thumbnail(seen, settings.max_suv)))
    write_json(folder / f"{files.name}.json", record)


def _masks(images: CaseImages, mask_values: MaskValues) -> tuple[NDArray, NDArray | None, int]:
    """Return the label maps of prediction and reference, and how many voxels nobody judged: they are background."""
    prediction = SimpleITK.GetArrayFromImage(images.prediction)
    if images.reference is None:
        return prediction, None, 0
    reference = SimpleITK.GetArrayFromImage(images.reference)
    unjudged = leave_out_unjudged(reference, prediction, mask_values)
    return prediction, reference, unjudged


def _section(name: str, seen: Patient, judged: JudgedClass, marked: Marked, settings: PageSettings) -> ClassSection:
    largest = _largest_of_each_kind(marked.spots, settings.num_lesions)
    listed = [spot.lesion for spot in _largest_of_each_kind(marked.spots, LISTED)]
    return ClassSection(
        name,
        judged.measures,
        listed,
        len(judged.lesions) - len(listed),
        projections(seen, marked, largest, settings.max_suv, alt=f"{name}: {in_words(judged.lesions)}."),
        [slice_row(seen, marked, spot, settings.max_suv) for spot in largest],
    )


def _largest_of_each_kind(spots: list[Spot], number: int) -> list[Spot]:
    """Choose from lesions that come sorted by kind and volume."""
    seen: Counter[str] = Counter()
    chosen = []
    for spot in spots:
        seen[spot.lesion.kind] += 1
        if seen[spot.lesion.kind] <= number:
            chosen.append(spot)
    return chosen


def in_words(lesions: list[JudgedLesion]) -> str:
    """Say how many lesions of each kind there are."""
    counts = Counter(lesion.kind for lesion in lesions)
    kinds = [PREDICTED] if counts[PREDICTED] else [FOUND, MISSED, FALSE]
    return ", ".join(f"{counts[kind]} {kind}" for kind in kinds) if lesions else "no lesions"
