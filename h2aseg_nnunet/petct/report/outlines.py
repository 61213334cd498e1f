"""Outlines of masks as SVG paths."""

import numpy as np
from contourpy import contour_generator
from numpy.typing import NDArray

FINER = 4
"""Corners of an outline are cut by half a pixel of a grid that is so much finer than the mask's."""


def outline_path(mask: NDArray, pixel_height: float, pixel_width: float) -> str:
    """The mask's outline along the edges of its pixels, as an SVG path from the upper left corner of the first pixel.

    Args:
        mask: 2D, rows from top to bottom; empty gives an empty path.
        pixel_height: In the path's units.
        pixel_width: In the path's units.
    """
    if not mask.any():
        return ""
    rows, columns = (slice(where.min(), where.max() + 1) for where in np.nonzero(mask))
    finer = mask[rows, columns].astype(np.float32).repeat(FINER, axis=0).repeat(FINER, axis=1)
    closed = np.pad(finer, 1)  # lets an outline close at the picture's edge
    rings = contour_generator(z=closed).lines(0.5)  # of x, y; a pixel's centre is a whole number
    first = (columns.start, rows.start)
    return "".join(_ring(((_corners(ring) - 0.5) / FINER + first) * (pixel_width, pixel_height)) for ring in rings)


def _corners(ring: NDArray) -> NDArray:
    """The points of a closed line at which it turns, without repeating the first."""
    points = ring[:-1]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    return points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


def _ring(points: NDArray) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z"
