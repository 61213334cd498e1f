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
"""Of the lesions' names: true, missed, false, and predicted where there is no reference to say more."""

OUTLINE_BITS = {FOUND: 1, MISSED: 2, PREDICTED: 4, FALSE: 8}
"""Reference lesions found and missed; predicted ones that hit a reference, or have none to hit, and false ones."""


class Finding(NamedTuple):
    """A lesion of the reference, or a predicted one that touches no lesion of the reference.

    Attributes:
        name: Letter and rank by volume within its kind: T1 is the largest lesion that was found.
        kind: found, missed, false; or predicted, without reference.
        volume_ml, suv_max, suv_mean, tlg: Of the lesion in its mask.
        predicted_share: Of a reference lesion's volume, 0 to 1; None for predicted lesions.
        position_mm: Of its centre in the scanner's coordinates: to the patient's left, back and head.
        voxel: Nearest to the centre, (i, j, k) of the file, from 0 on.
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


class Findings(NamedTuple):
    """One class of one case, on the grid of the files.

    Attributes:
        listed: Found, missed, then false, each from the largest to the smallest.
        measures: The totals.
        outlines: Sums of `OUTLINE_BITS`, (z, y, x).
        numbers: In the voxels of each finding its position in `listed`, from 1 on, (z, y, x).
    """

    listed: list[Finding]
    measures: Measures
    outlines: NDArray[np.uint8]
    numbers: NDArray[np.unsignedinteger]


def analyse(prediction: NDArray, reference: NDArray | None, suv: NDArray, image: Image) -> Findings:
    """Compare two masks lesion by lesion.

    A lesion is found if one voxel of it is predicted, and a predicted one false if no voxel of it is reference, as in
    the AutoPET challenges.

    Args:
        prediction: Boolean (z, y, x).
        reference: On the same grid; without it, lesions are merely predicted.
        suv: PET on the same grid.
        image: Gives the grid its place in the scanner.
    """
    spacing_mm = spacing_zyx_mm(image)
    predicted = lesions(prediction, spacing_mm, other=reference, suv=suv)
    predicted_labels, _ = label_components(prediction)
    true = [] if reference is None else lesions(reference, spacing_mm, other=prediction, suv=suv)
    numbers = np.zeros(suv.shape, np.min_scalar_type(len(true) + len(predicted)))
    result = Findings([], _totals(predicted), np.zeros(suv.shape, np.uint8), numbers)
    if reference is None:
        return _add(result, PREDICTED, predicted, predicted_labels, image)
    true_labels, _ = label_components(reference)
    _add(result, FOUND, (lesion for lesion in true if lesion.touched), true_labels, image, prediction)
    _add(result, MISSED, (lesion for lesion in true if not lesion.touched), true_labels, image, prediction)
    _add(result, FALSE, (lesion for lesion in predicted if not lesion.touched), predicted_labels, image)
    for lesion in predicted:
        if lesion.touched:
            _paint(result.outlines, predicted_labels, lesion, OUTLINE_BITS[PREDICTED])
    return result._replace(measures=_compared(result.measures, true, predicted, _dice(reference, prediction)))


def _add(
    result: Findings,
    kind: str,
    group: Iterable[Lesion],
    labels: NDArray,
    image: Image,
    prediction: NDArray | None = None,
) -> Findings:
    """List the lesions of one kind and paint them."""
    for rank, lesion in enumerate(sorted(group, key=lambda lesion: -lesion.volume_ml), start=1):
        box = lesion.bounding_box
        share = None if prediction is None else float(prediction[box][labels[box] == lesion.label].mean())
        result.listed.append(_finding(f"{LETTERS[kind]}{rank}", kind, lesion, share, image))
        _paint(result.outlines, labels, lesion, OUTLINE_BITS[kind])
        _paint(result.numbers, labels, lesion, len(result.listed))
    return result


def _finding(name: str, kind: str, lesion: Lesion, share: float | None, image: Image) -> Finding:
    centre = lesion.centroid[::-1]
    return Finding(
        name,
        kind,
        lesion.volume_ml,
        lesion.suv_max,
        lesion.suv_mean,
        lesion.tlg,
        share,
        position_mm=image.TransformContinuousIndexToPhysicalPoint(centre),
        voxel=tuple(map(round, centre)),
    )


def _paint(volume: NDArray, labels: NDArray, lesion: Lesion, value: int) -> None:
    """Within the lesion's box: a case may have hundreds of lesions, and many millions of voxels."""
    box = lesion.bounding_box
    volume[box][labels[box] == lesion.label] |= value


def _totals(predicted: list[Lesion]) -> Measures:
    return Measures(*_volume_and_tlg(predicted), lesions=len(predicted))


def _compared(measures: Measures, true: list[Lesion], predicted: list[Lesion], dice: float | None) -> Measures:
    false = [lesion for lesion in predicted if not lesion.touched]
    missed = [lesion for lesion in true if not lesion.touched]
    volume_ml, tlg = _volume_and_tlg(true)
    return measures._replace(
        reference_volume_ml=volume_ml,
        reference_tlg=tlg,
        reference_lesions=len(true),
        found=len(true) - len(missed),
        false=len(false),
        dice=dice,
        false_positive_volume_ml=_volume_and_tlg(false)[0],
        false_negative_volume_ml=_volume_and_tlg(missed)[0] if true else None,
    )


def _volume_and_tlg(group: list[Lesion]) -> tuple[float, float]:
    """Sums; exact ones, so that a sum does not depend on the order of lesions."""
    return math.fsum(lesion.volume_ml for lesion in group), math.fsum(lesion.tlg for lesion in group)


def _dice(reference: NDArray, prediction: NDArray) -> float | None:
    """JSON and tables have no NaN."""
    value = dice(reference, prediction)
    return None if math.isnan(value) else value
