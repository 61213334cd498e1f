"""The table of a case: everything that candidates ask for, so that rules are evaluated without images."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.petct.images.lesions import label_components, voxel_volume_ml
from h2aseg_nnunet.petct.postprocess.components import measure, peaks_within
from h2aseg_nnunet.petct.postprocess.outlines import draw_outline
from h2aseg_nnunet.petct.postprocess.regions import Predicted, Region, regions_of
from h2aseg_nnunet.petct.postprocess.rules import FEATURES, Outline


class OutlineTable(NamedTuple):
    """The n lesions of an outline.

    Attributes:
        voxels: Voxels of each, (n,).
        overlap: Voxels of each that the reference has too, (n,).
        touches: Whether each shares a voxel with each of r reference lesions, (n, r).
        features: By name, a value of each.
    """

    voxels: NDArray
    overlap: NDArray
    touches: NDArray[np.bool_]
    features: dict[str, NDArray]


class CaseTable(NamedTuple):
    """A case without its images.

    Attributes:
        voxel_ml: Volume of a voxel.
        reference_voxels: Voxels of each reference lesion, (r,).
        outlines: The lesions of each outline.
    """

    voxel_ml: float
    reference_voxels: NDArray
    outlines: dict[Outline, OutlineTable]


def measure_case(case: Predicted, reference: NDArray[np.bool_], outlines: Sequence[Outline]) -> CaseTable:
    """Measure the lesions of every outline, once.

    Args:
        case: The prediction; features of images that it lacks are left out.
        reference: Mask on the same grid.
        outlines: The outlines that candidates draw.
    """
    labels, count = label_components(reference)
    reference_voxels = np.bincount(labels[labels > 0], minlength=count + 1)[1:]
    wanted = _features_of(case)
    parts: dict[Outline, list[OutlineTable]] = {outline: [_nothing(count, wanted)] for outline in outlines}
    for region in regions_of(case, outlines):
        for outline, table in _measure_region(region, labels[region.box], count, outlines, wanted).items():
            parts[outline].append(table)
    tables = {outline: _together(tables) for outline, tables in parts.items()}
    return CaseTable(voxel_volume_ml(case.spacing_mm), reference_voxels, tables)


def _features_of(case: Predicted) -> list[str]:
    """The features that the case's images allow."""
    lacking = [("suv_max", case.suv), ("suv_peak", case.suv), ("mean_probability", case.probability)]
    return [name for name in FEATURES if name not in [feature for feature, image in lacking if image is None]]


def _measure_region(
    region: Region, reference: NDArray, count: int, outlines: Sequence[Outline], wanted: Sequence[str]
) -> dict[Outline, OutlineTable]:
    masks = {outline: draw_outline(region, outline) for outline in outlines}
    peaks = peaks_within(region, np.logical_or.reduce(list(masks.values()))) if "suv_peak" in wanted else None
    tables = {}
    for outline, mask in masks.items():
        if mask.any():
            found = measure(region, mask, wanted, peaks)
            number = len(found.voxels)
            both = mask & (reference > 0)
            pairs = np.stack([found.labels[both], reference[both]])
            touches = np.zeros((number + 1, count + 1), bool)
            touches[tuple(pairs)] = True
            overlap = np.bincount(pairs[0], minlength=number + 1)[1:]
            tables[outline] = OutlineTable(found.voxels, overlap, touches[1:, 1:], found.features)
    return tables


def _nothing(count: int, wanted: Sequence[str]) -> OutlineTable:
    none = np.zeros(0, np.int64)
    return OutlineTable(none, none, np.zeros((0, count), bool), {name: np.zeros(0) for name in wanted})


def _together(tables: Sequence[OutlineTable]) -> OutlineTable:
    voxels, overlap, touches, features = zip(*tables, strict=True)
    joined = {name: np.concatenate([each[name] for each in features]) for name in features[0]}
    return OutlineTable(np.concatenate(voxels), np.concatenate(overlap), np.concatenate(touches), joined)
