"""The axes in which images are stored. nnU-Net ignores them: to it a coronal volume is another image."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.images.itk import header_grid

LPS = "LPS"
"""Left, posterior, superior: the directions in which x, y and z of a DICOM series of axial slices grow."""


def read_axes(file: Path) -> str | None:
    """Read from a header where the axes run to, such as LPS; None if it cannot be read or is no volume."""
    try:
        grid = header_grid(file)
    except UserError:  # whoever reads the image says why
        return None
    return grid.axes if len(grid.size) == 3 else None


def most_common(axes: Iterable[str]) -> str | None:
    """Return the axes that most have; where two are equally common, LPS, else the first in the alphabet."""
    counts = Counter(axes)
    return min(counts, key=lambda name: (-counts[name], name != LPS, name), default=None)
