"""What a protocol is: which masks it compares, what it computes of a case, and of all cases together."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MARGIN_MM = 8.0
"""More than the radius of SUVpeak's sphere: nothing further from both masks is measured."""


class MetricSettings(NamedTuple):
    """What is computed of each case.

    Attributes:
        protocol: One of `PROTOCOLS`.
        minimum_iou: Overlap that finds a lesion, for "lesion": see `detect`.
        tolerance_mm: Add HD95 and the normalized surface Dice at this tolerance; None for neither.
        organ_labels: Who made the organ maps, for "clinical", or a file: see `organs.read_organs`.
    """

    protocol: str
    minimum_iou: float | None = None
    tolerance_mm: float | None = None
    organ_labels: str = "totalsegmentator"


class CaseArrays(NamedTuple):
    """One case, axes in the order z, y, x.

    Attributes:
        reference: Label map; voxels that nobody judged are background.
        predictions: Label map of each interaction step, mostly one; background where nobody judged, and everywhere if
            the prediction is missing.
        spacing_mm: Size of the voxels in the order of the axes.
        suv: PET, or None.
        organs: Organ map, or None.
        unjudged: Number of voxels that nobody judged.
        liver_suv: PERCIST's threshold from the liver; NaN without a liver.
    """

    reference: NDArray
    predictions: tuple[NDArray, ...]
    spacing_mm: tuple[float, ...]
    suv: NDArray | None = None
    organs: NDArray | None = None
    unjudged: int = 0
    liver_suv: float = math.nan

    @property
    def prediction(self) -> NDArray:
        """The label map of the last step."""
        return self.predictions[-1]

    def cropped(self) -> "CaseArrays":
        """Return what lies around the masks: a whole body is measured in seconds, and every value stays the same."""
        box = _box_around([self.reference, *self.predictions], self.spacing_mm)
        return self._replace(
            reference=self.reference[box],
            predictions=tuple(prediction[box] for prediction in self.predictions),
            suv=None if self.suv is None else self.suv[box],
            organs=None if self.organs is None else self.organs[box],
        )


class Pooled(NamedTuple):
    """A figure of all cases together.

    Attributes:
        name: Name of the figure.
        columns: Values of each case that are added up over the cases.
        score: Computes the figure's parts, by name, from these sums and the number of cases.
    """

    name: str
    columns: tuple[str, ...]
    score: Callable[[NDArray, int], dict[str, float]]


class Protocol(NamedTuple):
    """What a challenge computes.

    Attributes:
        measure: Computes the values of a case by name; undefined ones are NaN.
        labels: Labels that are compared apart; without any, every label is tumor.
        pooled: Figures of all cases together. One whose columns a case lacks is left out.
        missing: What the challenge makes of a case without prediction.
        resamples: Whether a prediction of equal spacing is brought onto the reference's grid by nearest neighbor.
        steps: Number of interaction steps in the challenge; 0 for one prediction per case.
        needs_suv: Whether PET is needed.
        surface: Whether surfaces are compared, which have no meaning where nobody judged.
        screen: Values of each case that the screen shows; without any, all.
    """

    measure: Callable[[CaseArrays, MetricSettings], dict[str, float]]
    labels: Mapping[str, int] = {}
    pooled: tuple[Pooled, ...] = ()
    missing: str = "error"
    resamples: bool = False
    steps: int = 0
    needs_suv: bool = False
    surface: bool = False
    screen: tuple[str, ...] = ()

    def mask_pairs(self, arrays: CaseArrays) -> Iterator["MaskPair"]:
        """Yield the masks that are compared: each label's, else tumor of any label."""
        for name, label in self.labels.items():
            yield MaskPair(f"_{name}", np.equal(arrays.reference, label), np.equal(arrays.prediction, label))
        if not self.labels:
            yield MaskPair("", np.not_equal(arrays.reference, 0), np.not_equal(arrays.prediction, 0))


class MaskPair(NamedTuple):
    """Two masks to be compared, and the ending of their values' names."""

    suffix: str
    reference: NDArray
    prediction: NDArray


def compared(name: str, reference: float, prediction: float) -> dict[str, float]:
    """Name a value of both masks, and their difference, prediction minus reference."""
    return {
        f"{name}_reference": reference,
        f"{name}_prediction": prediction,
        f"{name}_difference": prediction - reference,
    }


def _box_around(masks: Sequence[NDArray], spacing_mm: Sequence[float]) -> tuple[slice, ...]:
    """The smallest box with all voxels but background, and a margin; one voxel if there is none."""
    box: list[slice] = []
    for axis, size_mm in enumerate(spacing_mm):
        others = tuple(other for other in range(len(spacing_mm)) if other != axis)
        inside = [mask[tuple(box)].any(axis=others) for mask in masks]
        occupied = np.flatnonzero(np.any(inside, axis=0))
        if not occupied.size:
            return tuple(slice(0, 1) for _ in spacing_mm)
        margin = math.ceil(MARGIN_MM / size_mm) + 1
        box.append(slice(max(0, int(occupied[0]) - margin), int(occupied[-1]) + margin + 1))
    return tuple(box)
