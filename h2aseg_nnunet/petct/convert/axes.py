"""The axes of images as they are stored. nnU-Net ignores them: a coronal volume among axial ones is another image."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.petct.convert.plan import Plan
from h2aseg_nnunet.petct.convert.record import Record
from h2aseg_nnunet.petct.images.nifti import header_grid

LPS = "LPS"
"""Left, posterior, superior: the directions in which x, y and z of a DICOM series of axial slices grow."""


def most_common_axes(plan: Plan) -> str | None:
    """Return the axes that most CTs of training cases have, of all cases if there is no training case.

    Where two are equally common it is LPS, else the first in the alphabet. None if no CT can be read.
    """
    cases = [case for case in plan.cases if case.training] or plan.cases
    counts = Counter(axes for case in cases if (axes := read_axes(case.ct)))
    return min(counts, key=lambda axes: (-counts[axes], axes != LPS, axes), default=None)


def read_axes(file: Path) -> str | None:
    """Read the axes of an image from its header; None if it has none or is no volume."""
    try:
        grid = header_grid(file)
    except UserError:  # its case will be refused with the reason
        return None
    return grid.axes if len(grid.size) == 3 else None


def note_on_axes(records: Iterable[tuple[str, Record]]) -> list[str]:
    """Say which cases are stored with other axes than most."""
    cases: dict[str, list[str]] = {}
    for name, record in records:
        if record.axes:
            cases.setdefault(record.axes, []).append(name)
    if len(cases) < 2:
        return []
    common, *others = sorted(cases, key=lambda axes: (-len(cases[axes]), axes != LPS, axes))
    odd = "; ".join(f"{axes}: {listing(cases[axes])}" for axes in others)
    return [
        f"WARNING: most cases are stored with axes {common}, others are not ({odd}), and nnU-Net does not turn them. "
        "Convert anew with --reorient --overwrite"
    ]
