"""Pictures: figures that need no display and leave no global state, in colors that color-blind people tell apart."""

from pathlib import Path

from matplotlib.figure import Figure

from h2aseg_nnunet.petct.files import replacing

BLUE, VERMILION, GREEN, GRAY = "#0072B2", "#D55E00", "#009E73", "#777777"
"""From the palette of Okabe and Ito."""

DPI = 150


def figure(width_inches: float, height_inches: float) -> Figure:
    """Make a figure that lays itself out. It is not pyplot's."""
    return Figure(figsize=(width_inches, height_inches), layout="constrained")


def save(picture: Figure, file: Path, dpi: int = DPI) -> None:
    """Write a PNG; the file is whole or not there."""
    with replacing(file) as temporary:
        picture.savefig(temporary, dpi=dpi, format="png")
