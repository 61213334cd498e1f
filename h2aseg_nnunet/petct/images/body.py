"""Where the body is in a scan: pictures are cut to it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

AIR_HU = -1024
BODY_HU = -300

UPTAKE_SUV = 1.0
"""Uptake beside the body in the CT: a urine bag, or arms outside the CT's field of view."""

SMALLEST_ML = 4.0
"""Less uptake than this is noise."""

MARGIN_MM = 15.0

COARSE_MM = 8.0
"""Voxels of this size show where the body is in a fraction of a second."""

Box = tuple[slice, ...]


def body_box(ct_hu: NDArray, suv: NDArray, spacing_mm: Sequence[float], boxes: Sequence[Box] = ()) -> Box:
    """Find the box of the body, of uptake beside it, and of `boxes`, with a margin; all of the image without a body.

    Args:
        ct_hu: CT (z, y, x).
        suv: PET on the same grid.
        spacing_mm: Size of the voxels in the order of the arrays' axes.
        boxes: Boxes of lesions, which must be seen even if they are false and lie in the air.
    """
    shape = np.array(ct_hu.shape)
    step = np.array([max(1, round(COARSE_MM / size)) for size in spacing_mm])
    coarse = tuple(slice(None, None, each) for each in step)
    smallest = float(SMALLEST_ML * 1000 / np.prod(step * spacing_mm))
    body = _largest_component(ct_hu[coarse] > BODY_HU) | _components(suv[coarse] > UPTAKE_SUV, smallest)
    if not body.any():
        return tuple(slice(0, int(size)) for size in shape)
    inside = np.argwhere(body) * step
    low = np.min([inside.min(axis=0) - step + 1, *([part.start for part in box] for box in boxes)], axis=0)
    high = np.max([inside.max(axis=0) + step, *([part.stop for part in box] for box in boxes)], axis=0)
    margin = np.ceil(MARGIN_MM / np.array(spacing_mm)).astype(int)
    low, high = np.maximum(low - margin, 0), np.minimum(high + margin, shape)
    return tuple(slice(int(start), int(stop)) for start, stop in zip(low, high, strict=True))


def _largest_component(mask: NDArray) -> NDArray[np.bool_]:
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == sizes.argmax() if sizes.any() else mask


def _components(mask: NDArray, smallest: float) -> NDArray[np.bool_]:
    """Keep components of at least so many voxels."""
    labels, _ = ndimage.label(mask)
    keep = np.bincount(labels.ravel()) >= smallest
    keep[0] = False
    return keep[labels]
