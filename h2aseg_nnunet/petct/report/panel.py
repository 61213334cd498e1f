"""A picture as the page draws it: pixels below, outlines and marks above, in one system of coordinates.

Outlines lie over the pixels as vector graphics: a reader can switch them off, and they print sharply.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

import numpy as np
from contourpy import contour_generator
from numpy.typing import NDArray

from h2aseg_nnunet.petct.images.display import View
from h2aseg_nnunet.petct.report.judge import OUTLINE_BITS, JudgedLesion

FINER = 4
"""Corners of an outline are cut by half a pixel of a grid that is so much finer than the mask's."""

SCALE_BARS_MM = (200, 100, 50, 20, 10, 5)
LABEL_HEIGHT = 15.0
LABEL_WIDTH = 9.0
"""Width of one character of a lesion's name, in the panel's units: somewhat more than a bold one takes."""


class Frame(NamedTuple):
    """A rectangle in the panel's units."""

    left: float
    top: float
    width: float
    height: float

    @classmethod
    def around(cls, rows: slice, columns: slice, pixel_height: float, pixel_width: float) -> "Frame":
        """Return the rectangle that these pixels take."""
        left, top = columns.start * pixel_width, rows.start * pixel_height
        return cls(left, top, columns.stop * pixel_width - left, rows.stop * pixel_height - top)


class Outline(NamedTuple):
    """SVG path around all lesions of one kind."""

    kind: str
    path: str


class Label(NamedTuple):
    """A lesion's name, centered at x, y."""

    text: str
    kind: str
    x: float
    y: float

    def meets(self, other: "Label") -> bool:
        """Whether the two would cover each other."""
        apart = (len(self.text) + len(other.text)) * LABEL_WIDTH / 2
        return abs(self.x - other.x) < apart and abs(self.y - other.y) < LABEL_HEIGHT

    def inside(self, width: float, height: float) -> bool:
        """Whether all of it lies in a picture of this size."""
        half = len(self.text) * LABEL_WIDTH / 2
        return half <= self.x <= width - half and LABEL_HEIGHT / 2 <= self.y <= height - LABEL_HEIGHT / 2


class ScaleBar(NamedTuple):
    """The length of the bar in the panel's units, and what it says."""

    length: float
    text: str


class Panel(NamedTuple):
    """One picture; its units are CSS pixels at its nominal size, proportional to millimeters in the patient.

    Attributes:
        image: Data URI of the pixels, which fill the panel.
        width, height: Size of the panel.
        view: The direction of looking, which names the patient's sides at the edges.
        caption: Text below the picture.
        alt: Text for those who do not see it.
        outlines, labels: What is drawn over the pixels.
        scale_bar: The bar at the lower left corner.
        frame: The part that the close-ups beside it show.
        dark: Whether air is black and not white.
    """

    image: str
    width: float
    height: float
    view: View
    caption: str
    alt: str
    outlines: Sequence[Outline]
    scale_bar: ScaleBar
    labels: Sequence[Label] = ()
    frame: Frame | None = None
    dark: bool = False


def draw_outlines(bits: NDArray, pixel_height: float, pixel_width: float) -> list[Outline]:
    """Draw outlines of every kind in a plane of `OUTLINE_BITS`; errors come last and lie on top."""
    paths = {
        kind: outline_path((bits & OUTLINE_BITS[kind]) > 0, pixel_height, pixel_width)
        for kind in ("found", "predicted", "missed", "false")
    }
    return [Outline(kind, path) for kind, path in paths.items() if path]


def outline_path(mask: NDArray, pixel_height: float, pixel_width: float) -> str:
    """Draw the mask's outline along the edges of its pixels, as an SVG path; the first pixel's upper left corner is 0.

    Args:
        mask: A 2D mask, rows from top to bottom; an empty one gives an empty path.
        pixel_height: Height of a pixel in the path's units.
        pixel_width: Width of a pixel in the path's units.
    """
    if not mask.any():
        return ""
    rows, columns = (slice(where.min(), where.max() + 1) for where in np.nonzero(mask))
    finer = mask[rows, columns].astype(np.float32).repeat(FINER, axis=0).repeat(FINER, axis=1)
    closed = np.pad(finer, 1)  # lets an outline close at the picture's edge
    rings = cast(list[NDArray], contour_generator(z=closed).lines(0.5))  # of x, y; a pixel's center is a whole number
    first = (columns.start, rows.start)
    return "".join(_ring(((_corners(ring) - 0.5) / FINER + first) * (pixel_width, pixel_height)) for ring in rings)


def scale_bar(width_mm: float, units_per_mm: float) -> ScaleBar:
    """Choose the longest round length that takes at most a third of the width."""
    length_mm = next((length for length in SCALE_BARS_MM if 3 * length <= width_mm), SCALE_BARS_MM[-1])
    return ScaleBar(length_mm * units_per_mm, f"{length_mm / 10:g} cm")


def place_labels(lesions: Iterable[tuple[JudgedLesion, Frame]], width: float, height: float) -> list[Label]:
    """Put each lesion's name beside it, inside the picture and clear of the names before it where there is room."""
    placed: list[Label] = []
    for lesion, frame in lesions:
        labels = _candidates(lesion, frame)
        free = (
            label for label in labels if label.inside(width, height) and not any(label.meets(each) for each in placed)
        )
        placed.append(next(free, labels[0]))
    return placed


def _candidates(lesion: JudgedLesion, frame: Frame) -> list[Label]:
    """List places to the right, to the left, above, below, then further and further from the lesion's middle."""
    half = len(lesion.name) * LABEL_WIDTH / 2 + 3
    x, y = frame.left + frame.width / 2, frame.top + frame.height / 2
    right, left = x + frame.width / 2 + half, x - frame.width / 2 - half
    above, below = (y + sign * (frame.height + LABEL_HEIGHT) / 2 for sign in (-1, 1))
    places = [(right, y), (left, y), (x, above), (x, below)]
    places += [(side, y + step * LABEL_HEIGHT) for step in (1, -1, 2, -2, 3, -3) for side in (right, left)]
    return [Label(lesion.name, lesion.kind, *place) for place in places]


def _corners(ring: NDArray) -> NDArray:
    """Return the points of a closed line at which it turns, without repeating the first."""
    points = ring[:-1]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    return points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


def _ring(points: NDArray) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z"
