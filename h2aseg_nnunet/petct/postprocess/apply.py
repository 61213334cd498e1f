"""A rule applied to one case, in memory."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.petct.images.lesions import voxel_volume_ml
from h2aseg_nnunet.petct.postprocess.components import measure
from h2aseg_nnunet.petct.postprocess.outlines import draw_outline
from h2aseg_nnunet.petct.postprocess.regions import Predicted, Region, regions_of
from h2aseg_nnunet.petct.postprocess.rules import Rule


class Ruled(NamedTuple):
    """What a rule made of a case.

    Attributes:
        labels: The new label map.
        removed_lesions: Lesions of the rule's outline that did not stay.
        added_ml: Volume that the model had not marked.
        removed_ml: Volume that it had marked and that is gone.
    """

    labels: NDArray
    removed_lesions: int
    added_ml: float
    removed_ml: float


def apply_rule(rule: Rule, labels: NDArray, case: Predicted, classes: NDArray | None = None) -> Ruled:
    """Apply a rule to a label map.

    Voxels that the model marked keep its class. Others get the class given for them, or that of the nearest voxel
    which the model marked.

    Args:
        rule: The rule.
        labels: The model's label map, 0 in the background.
        case: The same case as tumor or none, with the images that the rule needs.
        classes: The class of each voxel if it is tumor; None if there is only one class, or the outline stays near
            the model's mask.
    """
    ruled = np.zeros_like(labels)
    removed = 0
    for region in regions_of(case, [rule.outline]):
        components = measure(region, draw_outline(region, rule.outline), [c.feature for c in rule.conditions])
        keep = rule.keeps(components.features, len(components.voxels))
        removed += int(np.count_nonzero(~keep))
        stays = np.concatenate([[False], keep])[components.labels]
        here = ruled[region.box]
        here[stays] = _class_of(region, labels, classes)[stays]
    if np.count_nonzero(ruled) * voxel_volume_ml(case.spacing_mm) < rule.least_total_ml:
        ruled[:] = 0
    added, gone = (ruled != 0) & ~case.mask, case.mask & (ruled == 0)
    volumes = (float(np.count_nonzero(each) * voxel_volume_ml(case.spacing_mm)) for each in (added, gone))
    return Ruled(ruled, removed, *volumes)


def _class_of(region: Region, labels: NDArray, classes: NDArray | None) -> NDArray:
    """The class of each voxel of a region, should it be tumor."""
    own = np.where(region.mask, labels[region.box], 0)
    if classes is not None:
        return np.where(region.mask, own, classes[region.box])
    return own[tuple(region.nearest[1])] if region.mask.any() else own
