"""A predicted case cut into boxes: outlines and lesions are looked for where something may be, not in a whole body."""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from h2aseg_nnunet.petct.images.lesions import label_components, lesions
from h2aseg_nnunet.petct.postprocess.rules import Outline

Box = tuple[slice, ...]


class Predicted(NamedTuple):
    """What is known of a predicted case; arrays have axes z, y, x.

    Attributes:
        mask: The model's own mask of tumor, of all classes.
        spacing_mm: Size of the voxels in the order of the axes.
        suv: PET, or None.
        probability: Probability of tumor, or None.
        liver_suv: PERCIST's threshold from the liver; NaN if it is not known.
    """

    mask: NDArray[np.bool_]
    spacing_mm: tuple[float, ...]
    suv: NDArray | None = None
    probability: NDArray | None = None
    liver_suv: float = math.nan


class Region:
    """A part of a case that no outline leaves: its lesions are whole, whichever outline is taken.

    Args:
        case: The case.
        box: Box around the part.
        inside: Which voxels of the box are of the part.

    Attributes:
        mask: The model's own mask within the part.
    """

    def __init__(self, case: Predicted, box: Box, inside: NDArray[np.bool_]):
        self.case = case
        self.box = box
        self.inside = inside
        self.mask: NDArray[np.bool_] = case.mask[box] & inside

    @property
    def suv(self) -> NDArray:
        assert self.case.suv is not None
        return self.case.suv[self.box]

    @property
    def probability(self) -> NDArray:
        assert self.case.probability is not None
        return self.case.probability[self.box]

    @cached_property
    def nearest(self) -> tuple[NDArray, NDArray]:
        """How far each voxel is from the model's mask in mm, and the index of its nearest voxel, (3, z, y, x)."""
        return distance_transform_edt(~self.mask, sampling=self.case.spacing_mm, return_indices=True)

    def near(self, reach_mm: float) -> NDArray[np.bool_]:
        """Return the voxels within so many mm of the model's mask."""
        if not self.mask.any():
            return np.zeros(self.mask.shape, bool)
        return (self.nearest[0] <= reach_mm) & self.inside


def regions_of(case: Predicted, outlines: Sequence[Outline]) -> Iterator[Region]:
    """Cut a case into parts that none of the outlines leaves."""
    labels, count = label_components(_support(case, outlines))
    statistics: Any = cc3d.statistics(labels) if count else {"bounding_boxes": []}
    for label, box in enumerate(statistics["bounding_boxes"][1:], start=1):
        yield Region(case, box, labels[box] == label)


def _support(case: Predicted, outlines: Sequence[Outline]) -> NDArray[np.bool_]:
    """Voxels that may be tumor by one of the outlines."""
    support: NDArray[np.bool_] = case.mask.copy()
    thresholds = [outline.value for outline in outlines if outline.kind == "probability"]
    if thresholds and case.probability is not None:
        support |= case.probability > min(thresholds)
    reaches = [outline.reach_mm for outline in outlines if outline.follows_uptake]
    if reaches:
        margins = [math.ceil(max(reaches) / size) for size in case.spacing_mm]
        for lesion in lesions(case.mask, case.spacing_mm):
            sides = zip(lesion.bounding_box, margins, strict=True)
            support[tuple(slice(max(0, side.start - margin), side.stop + margin) for side, margin in sides)] = True
    return support
