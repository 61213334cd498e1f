"""Outlines of tumor: the model's own, a threshold of its probability, or the uptake around its mask."""

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.petct.images.lesions import label_components
from h2aseg_nnunet.petct.postprocess.regions import Region
from h2aseg_nnunet.petct.postprocess.rules import Outline


def draw_outline(region: Region, outline: Outline) -> NDArray[np.bool_]:
    """Return the voxels of a region that are tumor.

    What follows uptake is drawn within reach of the model's mask only. Where no voxel there has enough uptake, nothing
    is left of a lesion, as nothing would be in a reference drawn by the same rule.

    Raises:
        ValueError: If the outline is of an unknown kind.
    """
    if outline.kind == "own":
        return region.mask
    if outline.kind == "probability":
        return (region.probability > outline.value) & region.inside
    near = region.near(outline.reach_mm)
    if not near.any():
        return near
    if outline.kind == "suv":
        return (region.suv >= outline.value) & near
    if outline.kind == "liver":
        return (region.suv >= outline.value * region.case.liver_suv) & near
    if outline.kind == "share":
        return (region.suv >= outline.value * _highest_of_nearest(region)) & near
    raise ValueError(f"outline of unknown kind {outline.kind!r}")


def _highest_of_nearest(region: Region) -> NDArray:
    """SUVmax of the lesion in the model's mask that is nearest to each voxel."""
    labels, count = label_components(region.mask)
    highest = np.full(count + 1, -np.inf)
    np.maximum.at(highest, labels[region.mask], region.suv[region.mask])
    return highest[labels[tuple(region.nearest[1])]]
