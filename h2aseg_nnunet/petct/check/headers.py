"""What the headers of a case's files tell: readable, and on one grid. No voxel is read."""

import itertools
from pathlib import Path

import numpy as np
import SimpleITK

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.check.files import Case
from h2aseg_nnunet.petct.check.findings import Finding, Severity
from h2aseg_nnunet.petct.images.grids import Grid

PLAUSIBLE_SPACING_MM = (0.2, 20.0)
"""Clinical CT and PET lie well within; outside, the header gives another unit (m, um), or none was set."""


def read_grid(file: Path) -> Grid:
    """Size, spacing, origin and direction from the header.

    Raises:
        UserError: If the file is empty, no image, or no scalar volume with three axes.
    """
    if file.stat().st_size == 0:
        raise UserError("the file is empty")
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].removeprefix("sitk::ERROR: ").replace(f'"{file}"', "it")
        raise UserError(f"the header cannot be read ({reason.strip()})") from error
    if reader.GetDimension() != 3 or reader.GetNumberOfComponents() != 1:
        components = reader.GetNumberOfComponents()
        raise UserError(f"it has {reader.GetDimension()} axes and {components} values per voxel, not one volume")
    return Grid(reader.GetSize(), reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection())


def check_headers(case: Case) -> list[Finding]:
    """Every file's header by itself, then the grid of each against the first channel's."""
    findings, grids = [], {}
    for file in (*case.images, *([case.label] if case.label else [])):
        try:
            grids[file] = read_grid(file)
        except (ValueError, OSError) as error:
            findings.append(unreadable(file, str(error), case.name))
            continue
        findings += _check_spacing(grids[file], file, case.name)
    first, *others = grids
    for file in others:
        findings += _compare(grids[first], grids[file], first, file, case.name)
    return findings


def unreadable(file: Path, reason: str, case: str) -> Finding:
    remedy = "Copy the file again, or convert it again from its source."
    return Finding("error", "unreadable", str(file), reason.rstrip("."), "a whole image with three axes", remedy, case)


def not_finite(file: Path, reason: str, case: str) -> Finding:
    remedy = "In PET 0 and in CT -1024 stand for nothing measured; better convert the image again."
    return Finding("error", "not-finite", str(file), reason.rstrip("."), "a number in every voxel", remedy, case)


def _check_spacing(grid: Grid, file: Path, case: str) -> list[Finding]:
    low, high = PLAUSIBLE_SPACING_MM
    if all(low <= spacing <= high for spacing in grid.spacing_mm):
        return []
    found = f"spacing {_numbers(grid.spacing_mm)} mm"
    remedy = "Correct the header: spacing is in millimetres."
    return [Finding("warning", "spacing", str(file), found, f"{low:g} to {high:g} mm", remedy, case)]


def _compare(reference: Grid, grid: Grid, reference_file: Path, file: Path, case: str) -> list[Finding]:
    """nnU-Net stops at another size or spacing; other origins and directions it only mentions, then ignores."""
    remedy = f"Resample it onto the grid of {reference_file.name}, labels by nearest neighbour."
    expected = f"as in {reference_file.name}: "
    if grid.size != reference.size:
        found, value = f"size {_numbers(grid.size)}", _numbers(reference.size)
        return [Finding("error", "grid", str(file), found, expected + value, remedy, case)]
    if not np.allclose(grid.spacing_mm, reference.spacing_mm):
        found, value = f"spacing {_numbers(grid.spacing_mm)} mm", f"{_numbers(reference.spacing_mm)} mm"
        return [Finding("error", "grid", str(file), found, expected + value, remedy, case)]
    if grid.has_header_of(reference):
        return []
    distance_mm = _distance_mm(reference, grid)
    half_voxel_mm = min(reference.spacing_mm) / 2
    name = "direction" if np.allclose(grid.origin_mm, reference.origin_mm) else "origin_mm"
    found = (
        f"{name.removesuffix('_mm')} {_numbers(getattr(grid, name))}: voxels of equal index lie up to "
        f"{distance_mm:.3g} mm apart"
    )
    severity: Severity = "error" if distance_mm > half_voxel_mm else "warning"
    if severity == "warning":
        remedy = "Harmless if only the header was rounded; otherwise resample it onto the other grid."
    return [Finding(severity, "grid", str(file), found, expected + _numbers(getattr(reference, name)), remedy, case)]


def _distance_mm(a: Grid, b: Grid) -> float:
    """The largest distance between voxels of equal index: it is that of a corner."""
    corners = np.array(list(itertools.product(*((0, size - 1) for size in a.size))))
    return float(np.linalg.norm(a.to_mm(corners) - b.to_mm(corners), axis=1).max())


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value + 0.0:.6g}" for value in values) + ")"
