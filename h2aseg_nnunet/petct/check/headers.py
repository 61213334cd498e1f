"""What the headers of a case's files tell: plausible voxels, and one grid."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from h2aseg_nnunet.petct.check.findings import Finding
from h2aseg_nnunet.petct.images.grids import Grid, distance_apart, same_grid

PLAUSIBLE_SPACING_MM = (0.2, 20.0)
"""Clinical CT and PET lie well within; outside, the header gives another unit (m, um), or none was set."""


def check_headers(grids: Mapping[Path, Grid], case: str) -> list[Finding]:
    """Check every grid by itself, then against the first.

    Args:
        grids: The grids of the files that could be read, images before the label.
        case: For the findings.
    """
    findings = [finding for file, grid in grids.items() for finding in _check_spacing(grid, file, case)]
    first, *others = grids or [None]
    for file in others:
        assert first is not None and file is not None
        findings += _compare(grids[first], grids[file], first, file, case)
    return findings


def _check_spacing(grid: Grid, file: Path, case: str) -> list[Finding]:
    low, high = PLAUSIBLE_SPACING_MM
    if all(low <= spacing <= high for spacing in grid.spacing_mm):
        return []
    found = f"spacing {_numbers(grid.spacing_mm)} mm"
    remedy = "Correct the header: spacing is in millimeters."
    return [Finding("warning", "spacing", str(file), found, f"{low:g} to {high:g} mm", remedy, case)]


def _compare(reference: Grid, grid: Grid, reference_file: Path, file: Path, case: str) -> list[Finding]:
    """nnU-Net stops at another size or spacing; other origins and directions it only mentions, then ignores."""
    found, value = _difference(reference, grid)
    if not found:
        return []
    remedy = f"Resample it onto the grid of {reference_file.name}, labels by nearest neighbor."
    return [Finding("error", "grid", str(file), found, f"as in {reference_file.name}: {value}", remedy, case)]


def _difference(reference: Grid, grid: Grid) -> tuple[str, str]:
    """What differs between two grids, and what it is in the reference; empty if they are the same."""
    if grid.size != reference.size:
        return f"size {_numbers(grid.size)}", _numbers(reference.size)
    if not np.allclose(grid.spacing_mm, reference.spacing_mm):  # nnU-Net's own tolerance, at which it stops
        return f"spacing {_numbers(grid.spacing_mm)} mm", f"{_numbers(reference.spacing_mm)} mm"
    if same_grid(reference, grid):
        return "", ""
    apart = distance_apart(reference, grid)
    where = f"voxels of equal index lie up to {apart.mm:.3g} mm ({apart.voxels:.2g} voxels) apart"
    if grid.axes != reference.axes:
        return f"axes {grid.axes}: {where}", reference.axes
    name = "direction" if np.allclose(grid.origin_mm, reference.origin_mm) else "origin_mm"
    found = f"{name.removesuffix('_mm')} {_numbers(getattr(grid, name))}: {where}"
    return found, _numbers(getattr(reference, name))


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value + 0.0:.6g}" for value in values) + ")"
