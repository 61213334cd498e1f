"""Lesions found and lesions invented: a mask as a detection task reads it."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.petct.images.lesions import check_grid, label_components


class Detection(NamedTuple):
    """Counts of lesions, of one case or summed over cases.

    Attributes:
        reference_lesions: Lesions of the reference.
        found_lesions: Those that a predicted lesion matches.
        predicted_lesions: Lesions of the prediction.
        true_lesions: Those that match a lesion of the reference.
    """

    reference_lesions: int
    found_lesions: int
    predicted_lesions: int
    true_lesions: int

    @property
    def sensitivity(self) -> float:
        """Share of the reference's lesions that were found; NaN if it has none."""
        return self.found_lesions / self.reference_lesions if self.reference_lesions else math.nan

    @property
    def precision(self) -> float:
        """Share of the predicted lesions that are true; NaN if there are none."""
        return self.true_lesions / self.predicted_lesions if self.predicted_lesions else math.nan

    @property
    def f1_of_found(self) -> float:
        """2 TP / (2 TP + FP + FN) where the found lesions are the true positives, as AutoPET V counts them.

        NaN without a lesion in the reference. It differs from `f1` where one lesion matches several.
        """
        if self.reference_lesions == 0:
            return math.nan
        wrong = self.predicted_lesions - self.true_lesions + self.reference_lesions - self.found_lesions
        return 2 * self.found_lesions / (2 * self.found_lesions + wrong)

    @property
    def f1(self) -> float:
        """Harmonic mean of both; 0 if nothing is found or nothing true, NaN if both masks are empty."""
        if self.reference_lesions + self.predicted_lesions == 0:
            return math.nan
        if self.found_lesions == 0:  # then none is true either
            return 0.0
        return 2 * self.sensitivity * self.precision / (self.sensitivity + self.precision)


def detect(
    reference: NDArray,
    prediction: NDArray,
    minimum_iou: float | None = None,
    strictly: bool = False,
    one_to_one: bool = False,
) -> Detection:
    """Count the lesions that reference and prediction have in common.

    A reference lesion and a predicted one match if they share at least one voxel, or reach `minimum_iou`. One
    predicted lesion that covers two of the reference finds both; two that lie in one lesion are both true.

    Args:
        reference: Mask in 2D or 3D.
        prediction: Mask on the same grid.
        minimum_iou: Intersection over union of the two lesions, above 0 and at most 1.
        strictly: Whether the overlap must exceed `minimum_iou`.
        one_to_one: Whether a lesion matches no more than one other: those of the largest overlap first.

    Raises:
        ValueError: If the masks differ in shape, or `minimum_iou` is out of range.
    """
    check_grid(reference, prediction=prediction)
    if minimum_iou is not None and not 0 < minimum_iou <= 1:
        raise ValueError(f"minimum_iou must be above 0 and at most 1, not {minimum_iou:g}.")
    reference_labels, num_reference = label_components(reference)
    predicted_labels, num_predicted = label_components(prediction)
    shared = (reference_labels > 0) & (predicted_labels > 0)
    pairs = np.stack([reference_labels[shared], predicted_labels[shared]], axis=1)
    (in_reference, in_prediction), intersections = _count_pairs(pairs, num_predicted)
    union = (
        _voxels(reference_labels, num_reference)[in_reference]
        + _voxels(predicted_labels, num_predicted)[in_prediction]
        - intersections
    )
    if minimum_iou is not None:
        needed = minimum_iou * union
        matching = intersections > needed if strictly else intersections >= needed
        in_reference, in_prediction = in_reference[matching], in_prediction[matching]
        intersections, union = intersections[matching], union[matching]
    if one_to_one:
        order = np.argsort(-intersections / union, kind="stable")
        pairs_left = _first_of_each(in_reference[order], in_prediction[order])
        return Detection(num_reference, pairs_left, num_predicted, pairs_left)
    return Detection(num_reference, len(np.unique(in_reference)), num_predicted, len(np.unique(in_prediction)))


def _first_of_each(in_reference: NDArray, in_prediction: NDArray) -> int:
    """Count the pairs that are left if each lesion may be in one only, and earlier pairs come first."""
    taken: tuple[set[int], set[int]] = (set(), set())
    for pair in zip(in_reference.tolist(), in_prediction.tolist(), strict=True):
        if all(lesion not in of_side for lesion, of_side in zip(pair, taken, strict=True)):
            for lesion, of_side in zip(pair, taken, strict=True):
                of_side.add(lesion)
    return len(taken[0])


def _count_pairs(pairs: NDArray, num_predicted: int) -> tuple[tuple[NDArray, NDArray], NDArray]:
    """Return the different pairs of labels, and in how many voxels each occurs."""
    keys, counts = np.unique(pairs[:, 0].astype(np.int64) * (num_predicted + 1) + pairs[:, 1], return_counts=True)
    return np.divmod(keys, num_predicted + 1), counts


def _voxels(labels: NDArray, count: int) -> NDArray:
    """Count the voxels of each label, those of the background as none."""
    return np.bincount(labels[labels > 0], minlength=count + 1)
