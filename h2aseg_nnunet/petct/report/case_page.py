"""One case: from its images to a page, a thumbnail, and figures for the overview."""

import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from h2aseg_nnunet import __version__
from h2aseg_nnunet.petct.images.orientation import CaseImages, finite_array, read_case
from h2aseg_nnunet.petct.report.cohort import CaseFiles
from h2aseg_nnunet.petct.report.dataset import Dataset
from h2aseg_nnunet.petct.report.findings import FALSE, FOUND, MISSED, PREDICTED, Finding, Findings, Measures, analyse
from h2aseg_nnunet.petct.report.html import render, write_text
from h2aseg_nnunet.petct.report.panel import Panel
from h2aseg_nnunet.petct.report.patient import Marked, Patient, Spot, patient
from h2aseg_nnunet.petct.report.projections import projections, thumbnail
from h2aseg_nnunet.petct.report.slices import SliceRow, slice_row

LISTED = 100
"""Lesions of each kind in the table; a prediction of noise may have many thousands."""


class Settings(NamedTuple):
    """What the user may choose.

    Attributes:
        max_suv: PET is black from there on.
        num_lesions: How many lesions of each kind are shown in slices, the largest first.
    """

    max_suv: float = 10.0
    num_lesions: int = 3


DEFAULT_SETTINGS = Settings()


class Section(NamedTuple):
    """What the page shows of one class."""

    name: str
    measures: Measures
    listed: list[Finding]
    omitted: int
    projections: list[Panel]
    rows: list[SliceRow]


def write_case(files: CaseFiles, dataset: Dataset, settings: Settings, folder: Path, fingerprint: str) -> None:
    """Write NAME.html, NAME.svg and, when both are there, NAME.json with the case's `Measures` by class.

    Raises:
        UserError: If an image cannot be read or lies on another grid.
    """
    images = read_case(files)
    suv = finite_array(images.pet)
    findings = [
        analyse(*_masks(images, dataset.ignore_label, values), suv, images.pet) for values in dataset.classes.values()
    ]
    seen = patient(images, findings)
    sections = [
        _section(name, seen, found, marked, settings)
        for name, found, marked in zip(dataset.classes, findings, seen.classes, strict=True)
    ]
    page = render(
        "case.html",
        case=files.name,
        compared=files.reference is not None,
        sections=sections,
        settings=settings,
        size=images.pet.GetSize(),
        spacing_mm=images.pet.GetSpacing(),
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
    write_text(folder / f"{files.name}.json", json.dumps(record, indent=1))


def _masks(images: CaseImages, ignore_label: int | None, values: tuple[int, ...]) -> tuple[NDArray, NDArray | None]:
    """Prediction and reference of one class; what is predicted where nobody judged counts for nothing."""
    prediction = np.isin(SimpleITK.GetArrayViewFromImage(images.prediction), values)
    if images.reference is None:
        return prediction, None
    reference = SimpleITK.GetArrayViewFromImage(images.reference)
    if ignore_label is not None:
        prediction &= reference != ignore_label
    return prediction, np.isin(reference, values)


def _section(name: str, seen: Patient, findings: Findings, marked: Marked, settings: Settings) -> Section:
    largest = _largest_of_each_kind(marked.spots, settings.num_lesions)
    listed = [spot.finding for spot in _largest_of_each_kind(marked.spots, LISTED)]
    return Section(
        name,
        findings.measures,
        listed,
        len(findings.listed) - len(listed),
        projections(seen, marked, largest, settings.max_suv, alt=f"{name}: {summary(findings.listed)}."),
        [slice_row(seen, marked, spot, settings.max_suv) for spot in largest],
    )


def _largest_of_each_kind(spots: list[Spot], number: int) -> list[Spot]:
    """They come sorted by kind and volume."""
    seen: Counter[str] = Counter()
    chosen = []
    for spot in spots:
        seen[spot.finding.kind] += 1
        if seen[spot.finding.kind] <= number:
            chosen.append(spot)
    return chosen


def summary(listed: list[Finding]) -> str:
    """How many lesions of each kind, in words."""
    counts = Counter(finding.kind for finding in listed)
    kinds = [PREDICTED] if counts[PREDICTED] else [FOUND, MISSED, FALSE]
    return ", ".join(f"{counts[kind]} {kind}" for kind in kinds) if listed else "no lesions"
