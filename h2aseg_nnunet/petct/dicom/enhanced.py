"""What enhanced (multi-frame) images say elsewhere than classic ones: units, and scaling by real world values."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from pydicom.dataset import Dataset

from h2aseg_nnunet.petct.dicom.values import number, text_of, value_of

UNITS = {"BQ/ML": "BQML", "{SUVBW}G/ML": "GML", "G/ML{SUVBW}": "GML", "G/ML": "GML"}
"""Units of real world values, and those of classic images that mean the same."""

SAME_SLOPE = 1e-4


class RealWorld(NamedTuple):
    """How stored values become values of known units; `units` as classic images have them, or the code."""

    units: str
    slope: float
    intercept: float


def real_world(frames: Sequence[Dataset]) -> RealWorld | None:
    """Return the real world values of a frame, activity before SUV; None where there are none.

    Args:
        frames: The frame's functional groups, then the shared ones.
    """
    found: list[RealWorld] = []
    for frame in frames:
        for mapping in value_of(frame, "RealWorldValueMappingSequence") or []:
            slope, intercept = (number(value_of(mapping, f"RealWorldValue{name}")) for name in ("Slope", "Intercept"))
            for code in value_of(mapping, "MeasurementUnitsCodeSequence") or []:
                if slope is not None and intercept is not None:
                    units = text_of(code, "CodeValue").upper().replace(" ", "")
                    found.append(RealWorld(UNITS.get(units, units), slope, intercept))
    rank = list(dict.fromkeys(UNITS.values()))
    return min(found, key=lambda each: rank.index(each.units) if each.units in rank else len(rank), default=None)


def contradicts(slope: float | None, intercept: float | None, world: RealWorld | None) -> bool:
    """Whether a frame's rescaling and its real world values give different values."""
    if world is None or slope is None or intercept is None:
        return False
    return not (
        math.isclose(slope, world.slope, rel_tol=SAME_SLOPE) and math.isclose(intercept, world.intercept, abs_tol=1e-3)
    )


def add_converted(header: Dataset) -> None:
    """Bring what a legacy converted image keeps in its shared groups to where classic images have it."""
    for shared in value_of(header, "SharedFunctionalGroupsSequence") or []:
        for converted in value_of(shared, "UnassignedSharedConvertedAttributesSequence") or []:
            for element in converted:
                if element.tag not in header:
                    header.add(element)
