"""What a reader looks for in one class of one case: lesions found, missed and falsely predicted, and totals."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from SimpleITK import Image

from h2aseg_nnunet.petct.evaluate.metrics import dice
from h2aseg_nnunet.petct.images.lesions import Lesion, label_components, lesions
from h2aseg_nnunet.petct.images.orientation import spacing_zyx_mm

FOUND, MISSED, FALSE, PREDICTED = "found", "missed", "false", "predicted"
LETTERS = {FOUND: "T", MISSED: "M", FALSE: "F", PREDICTED: "P"}
"""First letter of lesions' names: true, missed, false, and predicted where there is no reference to say more."""

OUTLINE_BITS = {FOUND: 1, MISSED: 2, PREDICTED: 4, FALSE: 8}
"""Reference lesions found and missed; predicted ones that hit a reference, or have none to hit, and false ones."""


class JudgedLesion(NamedTuple):
    """A lesion of the reference, or a predicted one that touches no lesion of the reference.

    Attributes:
        name: Letter and rank by volume within its kind: T1 is the largest lesion that was found.
        kind: found, missed, false; or predicted, without reference.
        volume_ml, suv_max, suv_mean, tlg: Size and uptake of the lesion in its own mask.
        predicted_share: Share of a reference lesion's volume that is predicted, 0 to 1; None for predicted lesions.
        position_mm: The lesion's center in the scanner's coordinates, which grow to the patient's left, back and head.
        voxel: The voxel nearest to the center, (i, j, k) of the file, counted from 0.
    """

    name: str
    kind: str
    volume_ml: float
    suv_max: float
    suv_mean: float
    tlg: float
    predicted_share: float | None
    position_mm: tuple[float, ...]
    voxel: tuple[int, ...]


class Measures(NamedTuple):
    """Totals of one class of one case; None without reference, or where a value is undefined without a lesion."""

    volume_ml: float
    tlg: float
    lesions: int
    reference_volume_ml: float | None = None
    reference_tlg: float | None = None
    reference_lesions: int | None = None
    found: int | None = None
    false: int | None = None
    dice: float | None = None
    false_positive_volume_ml: float | None = None
    false_negative_volume_ml: float | None = None


class JudgedClass(NamedTuple):
    """One class of one case, on the grid of the files.

    Attributes:
        lesions: Found, missed, then false, each from the largest to the smallest.
        measures: The totals.
        outlines: Sums of `OUTLINE_BITS`, (z, y, x).
        numbers: In the voxels of each lesion its position in `lesions`, counted from 1, (z, y, x).
    """

    lesions: list[JudgedLesion]
    measures: Measures
    outlines: NDArray[np.uint8]
    numbers: NDArray[np.unsignedinteger]


def judge(prediction: NDArray, reference: NDArray | None, suv: NDArray, image: Image) -> JudgedClass:
    """Compare two masks lesion by lesion.

    A lesion is found if one voxel of it is predicted, and a predicted one false if no voxel of it is reference, as in
    the AutoPET challenges.

    Args:
        prediction: Boolean mask (z, y, x).
        reference: Mask on the same grid; without it, lesions are merely predicted.
        suv: PET on the same grid.
        image: An image on this grid, which has its place in the scanner.
    """
    spacing_mm = spacing_zyx_mm(image)
    predicted = lesions(prediction, spacing_mm, other=reference, suv=suv)
    predicted_labels, _ = label_components(prediction)
    true = [] if reference is None else lesions(reference, spacing_mm, other=prediction, suv=suv)
    numbers = np.zeros(suv.shape, np.min_scalar_type(len(true) + len(predicted)))
    measures = Measures(*_volume_and_tlg(predicted), len(predicted))
    result = JudgedClass([], measures, np.zeros(suv.shape, np.uint8), numbers)
    if reference is None:
        _add(result, PREDICTED, predicted, predicted_labels, image)
        return result
    true_labels, _ = label_components(reference)
    _add(result, FOUND, (lesion for lesion in true if lesion.touched), true_labels, image, prediction)
    _add(result, MISSED, (lesion for lesion in true if not lesion.touched), true_labels, image, prediction)
    _add(result, FALSE, (lesion for lesion in predicted if not lesion.touched), predicted_labels, image)
    for lesion in predicted:
        if lesion.touched:
            _paint(result.outlines, predicted_labels, lesion, OUTLINE_BITS[PREDICTED])
    return result._replace(measures=_compared(result.measures, true, predicted, dice(reference, prediction)))


def _add(
    result: JudgedClass,
    kind: str,
    group: Iterable[Lesion],
    labels: NDArray,
    image: Image,
    prediction: NDArray | None = None,
) -> None:
    """List the lesions of one kind and paint them."""
    for rank, lesion in enumerate(sorted(group, key=lambda lesion: -lesion.volume_ml), start=1):
        box = lesion.bounding_box
        share = None if prediction is None else float(prediction[box][labels[box] == lesion.label].mean())
        result.lesions.append(_judged(f"{LETTERS[kind]}{rank}", kind, lesion, share, image))
        _paint(result.outlines, labels, lesion, OUTLINE_BITS[kind])
        _paint(result.numbers, labels, lesion, len(result.lesions))


def _judged(name: str, kind: str, lesion: Lesion, share: float | None, image: Image) -> JudgedLesion:
    center = lesion.centroid[::-1]
    assert lesion.suv_max is not None and lesion.suv_mean is not None and lesion.tlg is not None  # there is a PET
    return JudgedLesion(
        name,
        kind,
        lesion.volume_ml,
        lesion.suv_max,
        lesion.suv_mean,
        lesion.tlg,
        share,
        position_mm=image.TransformContinuousIndexToPhysicalPoint(center),
        voxel=tuple(map(round, center)),
    )


def _paint(volume: NDArray, labels: NDArray, lesion: Lesion, value: int) -> None:
    """Paint within the lesion's box: a case may have hundreds of lesions, and many millions of voxels."""
    box = lesion.bounding_box
    volume[box][labels[box] == lesion.label] |= value


def _compared(measures: Measures, true: list[Lesion], predicted: list[Lesion], overlap: float) -> Measures:
    false = [lesion for lesion in predicted if not lesion.touched]
    missed = [lesion for lesion in true if not lesion.touched]
    volume_ml, tlg = _volume_and_tlg(true)
    return measures._replace(
        reference_volume_ml=volume_ml,
        reference_tlg=tlg,
        reference_lesions=len(true),
        found=len(true) - len(missed),
        false=len(false),
        dice=None if math.isnan(overlap) else overlap,  # JSON and tables have no NaN
        false_positive_volume_ml=_volume_and_tlg(false)[0],
        false_negative_volume_ml=_volume_and_tlg(missed)[0] if true else None,
    )


def _volume_and_tlg(group: list[Lesion]) -> tuple[float, float]:
    """Sum exactly, so that a sum does not depend on the order of lesions."""
    return math.fsum(lesion.volume_ml for lesion in group), math.fsum(lesion.tlg or 0.0 for lesion in group)
