"""The axes of images as they are stored. nnU-Net ignores them: a coronal volume among axial ones is another image."""

from collections.abc import Iterable

from h2aseg_nnunet.errors import listing
from h2aseg_nnunet.petct.convert.plan import Plan
from h2aseg_nnunet.petct.convert.record import Record
from h2aseg_nnunet.petct.images.axes import LPS, most_common, read_axes


def most_common_axes(plan: Plan) -> str | None:
    """Return the axes that most CTs of training cases have, of all cases if there is no training case.

    Where two are equally common it is LPS, else the first in the alphabet. None if no CT can be read.
    """
    cases = [case for case in plan.cases if case.training] or plan.cases
    return most_common(axes for case in cases if (axes := read_axes(case.ct)))


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
