"""A picture as the page draws it: pixels below, outlines and marks above, in one system of coordinates.

Outlines lie over the pixels as vector graphics: a reader can switch them off, and they print sharply.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from numpy.typing import NDArray

from h2aseg_nnunet.petct.images.views import View
from h2aseg_nnunet.petct.report.findings import OUTLINE_BITS, Finding
from h2aseg_nnunet.petct.report.outlines import outline_path

SCALE_BARS_MM = (200, 100, 50, 20, 10, 5)
LABEL_HEIGHT = 15.0
LABEL_WIDTH = 9.0
"""Of one character of a lesion's name, in the panel's units: somewhat more than a bold one takes."""


class Frame(NamedTuple):
    """A rectangle in the panel's units."""

    left: float
    top: float
    width: float
    height: float

    @classmethod
    def around(cls, rows: slice, columns: slice, pixel_height: float, pixel_width: float) -> "Frame":
        """The rectangle that these pixels take."""
        left, top = columns.start * pixel_width, rows.start * pixel_height
        return cls(left, top, columns.stop * pixel_width - left, rows.stop * pixel_height - top)


class Outline(NamedTuple):
    """SVG path around all lesions of one kind."""

    kind: str
    path: str


class Label(NamedTuple):
    """A lesion's name, centred at x, y."""

    text: str
    kind: str
    x: float
    y: float

    def meets(self, other: "Label") -> bool:
        """The two would cover each other."""
        apart = (len(self.text) + len(other.text)) * LABEL_WIDTH / 2
        return abs(self.x - other.x) < apart and abs(self.y - other.y) < LABEL_HEIGHT

    def inside(self, width: float, height: float) -> bool:
        """All of it lies in a picture of this size."""
        half = len(self.text) * LABEL_WIDTH / 2
        return half <= self.x <= width - half and LABEL_HEIGHT / 2 <= self.y <= height - LABEL_HEIGHT / 2


class ScaleBar(NamedTuple):
    """Its length in the panel's units, and what it says."""

    length: float
    text: str


class Panel(NamedTuple):
    """One picture; its units are CSS pixels at its nominal size, proportional to millimetres in the patient.

    Attributes:
        image: Data URI of the pixels, which fill the panel.
        width, height: Of the panel.
        view: Names the patient's sides at the edges.
        caption: Below the picture.
        alt: For those who do not see it.
        outlines, labels: Over the pixels.
        scale_bar: At the lower left corner.
        frame: What the close-ups beside it show.
        dark: Nothing is black, not white.
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
    """Outlines of every kind in a plane of `OUTLINE_BITS`; errors come last and lie on top."""
    paths = {
        kind: outline_path((bits & OUTLINE_BITS[kind]) > 0, pixel_height, pixel_width)
        for kind in ("found", "predicted", "missed", "false")
    }
    return [Outline(kind, path) for kind, path in paths.items() if path]


def scale_bar(width_mm: float, units_per_mm: float) -> ScaleBar:
    """The longest round length that takes at most a third of the width."""
    length_mm = next((length for length in SCALE_BARS_MM if 3 * length <= width_mm), SCALE_BARS_MM[-1])
    return ScaleBar(length_mm * units_per_mm, f"{length_mm / 10:g} cm")


def place_labels(lesions: Iterable[tuple[Finding, Frame]], width: float, height: float) -> list[Label]:
    """Put each lesion's name beside it, inside the picture and clear of the names before it where there is room."""
    placed: list[Label] = []
    for finding, frame in lesions:
        labels = _candidates(finding, frame)
        free = (
            label for label in labels if label.inside(width, height) and not any(label.meets(each) for each in placed)
        )
        placed.append(next(free, labels[0]))
    return placed


def _candidates(finding: Finding, frame: Frame) -> list[Label]:
    """To the right, to the left, above, below, then further and further from the lesion's middle."""
    half = len(finding.name) * LABEL_WIDTH / 2 + 3
    x, y = frame.left + frame.width / 2, frame.top + frame.height / 2
    right, left = x + frame.width / 2 + half, x - frame.width / 2 - half
    above, below = (y + sign * (frame.height + LABEL_HEIGHT) / 2 for sign in (-1, 1))
    places = [(right, y), (left, y), (x, above), (x, below)]
    places += [(side, y + step * LABEL_HEIGHT) for step in (1, -1, 2, -2, 3, -3) for side in (right, left)]
    return [Label(finding.name, finding.kind, *place) for place in places]
