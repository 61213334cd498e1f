"""Masks: which values a label map may hold, and which of its voxels nobody judged. Every command reads masks here."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.images.reading import read_image
from h2aseg_nnunet.petct.labels import Declared

VALUES_IN_A_MESSAGE = 5

NEARLY_WHOLE = 0.01
"""Values that are closer to whole numbers are labels with a rounding error; others are probabilities or an image."""


MARKS = (255, 65535, 4294967295)
"""-1 in unsigned types: customary marks of voxels that nobody judged."""


class ValueFault(NamedTuple):
    """What is wrong with the values of a mask.

    Attributes:
        found: The values, and in how many voxels they are.
        rule: What masks hold instead.
        remedy: How to mend it, as sentences.
    """

    found: str
    rule: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.found}; {self.rule}. {self.remedy}"


class MaskValues(NamedTuple):
    """The values that masks of two kinds may hold; None for any whole numbers from 0 on."""

    reference: Declared | None = None
    prediction: Declared | None = None


UNDECLARED = MaskValues()


def read_mask(file: Path, declared: Declared | None = None) -> SimpleITK.Image:
    """Read a label map.

    Args:
        file: Its file.
        declared: The values it may hold; None for any whole numbers from 0 on.

    Raises:
        UserError: If the file cannot be read, or another value occurs; the message names value and remedy.
    """
    mask = read_image(file)
    fault = find_fault(SimpleITK.GetArrayViewFromImage(mask), declared)
    if fault is not None:
        raise UserError(f"{file} {fault}")
    return mask


def find_fault(mask: NDArray, declared: Declared | None = None) -> ValueFault | None:
    """Say what is wrong with the values of a mask, what was expected and how to mend it; None if nothing is.

    Without a declaration every value but 0 is tumor. Then negative values are refused, and so is a type's highest value
    (255) beside other labels: both are customary marks of voxels that nobody judged.

    Args:
        mask: A label map of any shape.
        declared: The values it may hold; None for any whole numbers from 0 on.
    """
    wrong = mask[_is_wrong(mask, declared)]
    if not wrong.size:
        return None
    values = np.unique(wrong)
    rule = "masks hold whole numbers from 0 on"
    if declared is not None:
        rule = f"{declared.source} declares {', '.join(map(str, declared.known))}"
    return ValueFault(f"holds {_listed(values)} in {wrong.size} voxels", rule, _remedy(mask, values, declared))


def leave_out_unjudged(reference: NDArray, prediction: NDArray, values: MaskValues) -> int:
    """Make voxels background, in both masks, that the reference marks with the ignore label; count them.

    nnU-Net leaves them out of its metrics in the same way. It never predicts the ignore label: where a prediction has
    it in judged voxels, nothing is predicted.

    Args:
        reference: Label map, which is changed.
        prediction: Label map on the same grid, which is changed.
        values: The values of both.
    """
    if values.prediction is not None and values.prediction.labels.ignore is not None:
        prediction[prediction == values.prediction.labels.ignore] = 0
    if values.reference is None or values.reference.labels.ignore is None:
        return 0
    unjudged = reference == values.reference.labels.ignore
    reference[unjudged] = prediction[unjudged] = 0
    return int(np.count_nonzero(unjudged))


def _is_wrong(mask: NDArray, declared: Declared | None) -> NDArray[np.bool_]:
    """Compare value by value, which needs less memory and time than sets of a whole body's voxels."""
    wrong = mask < 0
    if mask.dtype.kind == "f":
        wrong |= mask != np.trunc(mask)
    if declared is not None:
        highest = max(declared.known)
        for gap in set(range(highest)).difference(declared.known):
            wrong |= mask == gap
        return wrong | (mask > highest)
    highest = mask.max(initial=0)
    if highest in MARKS and np.any((mask > 0) & (mask < highest)):
        wrong |= mask == highest
    return wrong


def _remedy(mask: NDArray, wrong: NDArray, declared: Declared | None) -> str:
    if np.any(wrong != np.trunc(wrong)):
        if np.abs(wrong - np.rint(wrong)).max() < NEARLY_WHOLE:
            return "Round the mask to whole numbers and save it as integers."
        return "Threshold it if it holds probabilities, for instance at 0.5; save masks as integers."
    if wrong[0] < 0 or (declared is None and wrong[0] in MARKS):
        place = "a dataset.json beside the masks" if declared is None else declared.source
        return f"Store 0 for background. Where nobody judged, store the label that {place} declares as ignore."
    if declared is not None and len(declared.labels.classes) == len(wrong) == 1 and not np.any(mask == 1):
        return f"Store 1 instead of {_exact(wrong[0])} if it marks {', '.join(declared.labels.classes)}."
    how = Declared._field_defaults["how"] if declared is None else declared.how
    return f"Correct the mask, or {how}." if how else "Correct the mask."


def _listed(values: NDArray) -> str:
    noun = "the value" if values.size == 1 else f"{values.size} unexpected values, such as"
    return f"{noun} {', '.join(map(_exact, values[:VALUES_IN_A_MESSAGE]))}"


def _exact(value: float) -> str:
    """Write a value so that it cannot be taken for another: 1.0000001 is not 1."""
    return str(value).removesuffix(".0")
