"""The maps of an explanation: written as NIfTI, and drawn in the axial slice through the chosen voxel."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import SimpleITK
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray
from SimpleITK import Image

from h2aseg_nnunet.explain.case import ExplainedCase, Voxel
from h2aseg_nnunet.network.readings import MODALITIES
from h2aseg_nnunet.petct import plots
from h2aseg_nnunet.petct.images.body import AIR_HU, body_box
from h2aseg_nnunet.petct.images.display import AXIAL, ct_gray, pet_gray, pixel_size_mm
from h2aseg_nnunet.petct.images.orientation import finite_array, spacing_zyx_mm, to_patient_axes

PANEL_INCHES = 2.6
DPI = 100
COLORS = {"CT": plots.BLUE, "PET": "#E69F00"}  # of Okabe and Ito
DIVERGING = "PuOr_r"  # purple to orange: apart for color-blind readers
PROBABILITY = "plasma"
ATTENTION = "YlOrRd"


class AxialSlice(NamedTuple):
    """An axial slice in the patient's axes, rows from front to back, columns from the patient's right to left.

    Attributes:
        number: Number of the slice.
        row, column: Position of the chosen voxel.
        pixel_mm: Height and width of a pixel.
    """

    number: int
    row: int
    column: int
    pixel_mm: tuple[float, float]

    @classmethod
    def through(cls, voxel: Voxel, image: Image) -> "AxialSlice":
        """Find the slice of an image that holds a voxel."""
        turned = to_patient_axes(image)
        column, row, number = turned.TransformPhysicalPointToIndex(voxel.point_mm)
        return cls(number, row, column, pixel_size_mm(spacing_zyx_mm(turned), AXIAL))

    def of(self, image: Image, labels: bool = False, outside: float = 0) -> NDArray:
        """Return the slice of an image, as `to_patient_axes` turns it."""
        return finite_array(to_patient_axes(image, outside, labels))[self.number]


class Album:
    """Writes maps below a folder and remembers how they look in one slice.

    Args:
        folder: Folder of the explanation.
        cut: The slice that the figures show.
    """

    def __init__(self, folder: Path, cut: AxialSlice):
        self.folder = folder
        self.cut = cut
        self.planes: dict[str, NDArray] = {}

    def add(self, name: str, image: Image, labels: bool = False, outside: float = 0) -> None:
        """Write `name`.nii.gz.

        Args:
            name: Name of the map, which may contain folders.
            image: The map on the grid of the case.
            labels: Whether values must not be mixed.
            outside: Value beyond the image.
        """
        file = self.folder / f"{name}.nii.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        SimpleITK.WriteImage(image, str(file), True)
        self.planes[name] = self.cut.of(image, labels, outside)


class Scene(NamedTuple):
    """One axial slice, cut to the body.

    Attributes:
        gray: Pixels of CT and PET, 0 black to 255 white.
        tumor: Predicted tumor.
        box: Rows and columns of the slice that are shown.
        cross: Row and column of the chosen voxel in it.
        pixel_mm: Height and width of a pixel.
    """

    gray: dict[str, NDArray]
    tumor: NDArray
    box: tuple[slice, ...]
    cross: tuple[int, int]
    pixel_mm: tuple[float, float]


def draw_figures(case: ExplainedCase, album: Album, record: dict[str, Any], max_suv: float) -> None:
    """Write probability.png, attribution.png and, if any stage has TAMW or attention, tamw.png and attention.png."""
    scene = _scene(case, album, max_suv)
    figures = {
        "probability": _probability(scene, album.planes),
        "tamw": _tamw(scene, album.planes, record["tamw"]),
        "attribution": _attribution(scene, album.planes, record),
        "attention": _attention(scene, album.planes, record["attention"]),
    }
    for name, figure in figures.items():
        if figure is not None:
            plots.save(figure, album.folder / f"{name}.png", DPI)


def _scene(case: ExplainedCase, album: Album, max_suv: float) -> Scene:
    ct, pet = (case.images[case.model.modality_channels[name][0]] for name in MODALITIES)
    cut = album.cut
    hu, suv = cut.of(ct, outside=AIR_HU), cut.of(pet)
    spacing_mm = (1.0, *cut.pixel_mm)
    here = (slice(0, 1), slice(cut.row, cut.row + 1), slice(cut.column, cut.column + 1))
    _, *box = body_box(hu[None], suv[None], spacing_mm, [here])
    rows, columns = box
    return Scene(
        {"CT": ct_gray(hu)[rows, columns], "PET": pet_gray(suv, max_suv)[rows, columns]},
        album.planes["prediction"][rows, columns] > 0,
        (rows, columns),
        (cut.row - rows.start, cut.column - columns.start),
        cut.pixel_mm,
    )


def _probability(scene: Scene, planes: dict[str, NDArray]) -> Figure:
    stages = sorted((name for name in planes if name.startswith("probability/")), reverse=True)
    figure, axes = _panels(1, 2 + len(stages), scene, "Tumor probability, from the coarsest stage to the finest")
    for axis, modality in zip(axes[0], MODALITIES, strict=False):
        _slice(axis, scene, modality, modality)
    scale = ScalarMappable(Normalize(0, 1), PROBABILITY)
    for axis, name in zip(axes[0, 2:], stages, strict=True):
        _slice(axis, scene, "CT", name.split("/")[1].replace("stage", "stage "), planes[name], scale)
    figure.colorbar(scale, ax=axes, label="probability", shrink=0.8)
    return figure


def _tamw(scene: Scene, planes: dict[str, NDArray], gains: Sequence[dict[str, Any]]) -> Figure | None:
    if not gains:
        return None
    stages = [each["stage"] for each in reversed(gains)]
    figure, axes = _panels(2, len(stages) + 2, scene, "TAMW: how much features count, from coarse to fine")
    maps = [planes[f"tamw/stage{stage}_{modality}"] for stage in stages for modality in MODALITIES]
    largest = max(0.05, *(float(np.abs(plane[scene.box] - 1).max()) for plane in maps))
    scale = ScalarMappable(TwoSlopeNorm(1, 1 - largest, 1 + largest), DIVERGING)
    for row, modality in zip(axes, MODALITIES, strict=True):
        for axis, stage in zip(row, stages, strict=False):
            _slice(axis, scene, modality, f"{modality} stage {stage}", planes[f"tamw/stage{stage}_{modality}"], scale)
    figure.colorbar(scale, ax=axes[:, : len(stages)], label="mean factor", shrink=0.8)
    grid = axes[0, 0].get_gridspec()
    for axis in axes[:, len(stages) :].flat:
        axis.remove()
    for row, where in enumerate(("tumor", "background")):
        _bars(figure.add_subplot(grid[row, len(stages) :]), gains, where)
    return figure


def _bars(axis: Axes, gains: Sequence[dict[str, Any]], where: str) -> None:
    positions = np.arange(len(gains))
    for shift, (modality, color) in zip((-0.2, 0.2), COLORS.items(), strict=True):
        change = [100 * each[modality][where] for each in reversed(gains)]
        axis.bar(positions + shift, change, 0.4, label=modality, color=color)
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set_xticks(positions, [f"stage {each['stage']}" for each in reversed(gains)])
    axis.set_title(f"in {'predicted tumor' if where == 'tumor' else 'background'}: change in %", fontsize=9)
    axis.tick_params(labelsize=8)
    axis.legend(fontsize=8)


def _attribution(scene: Scene, planes: dict[str, NDArray], record: dict[str, Any]) -> Figure:
    figure, axes = _panels(1, 4, scene, "Tumor probability owed to each modality")
    scale = ScalarMappable(TwoSlopeNorm(0, -1, 1), DIVERGING)
    for axis, modality in zip(axes[0], MODALITIES, strict=False):
        _slice(axis, scene, modality, modality)
    for axis, modality in zip(axes[0, 2:], MODALITIES, strict=True):
        mean = record["attribution"][modality]["mean_in_predicted_tumor"]
        title = f"owed to {modality}" + ("" if mean is None else f": {mean:+.2f} in tumor")
        _slice(axis, scene, "CT", title, planes[f"attribution/{modality}"], scale)
    figure.colorbar(scale, ax=axes, label="probability less that without", shrink=0.8)
    return figure


def _attention(scene: Scene, planes: dict[str, NDArray], readings: Sequence[dict[str, Any]]) -> Figure | None:
    if not readings:
        return None
    rows = list(dict.fromkeys((each["stage"], each["span"]) for each in readings))
    pairs = [("CT", "CT"), ("CT", "PET"), ("PET", "PET"), ("PET", "CT")]
    figure, axes = _panels(
        len(rows),
        len(pairs),
        scene,
        "Where the marked voxel reads more than the average (times); dashed: where it may read",
    )
    found = {(each["stage"], each["span"], each["reader"], each["source"]): each for each in readings}
    for row, (stage, span) in zip(axes, rows, strict=True):
        maps = [planes[f"attention/{found[(stage, span, *pair)]['map']}"] for pair in pairs]
        highest = max(2.0, *(float(plane[scene.box].max()) for plane in maps))
        scale = ScalarMappable(LogNorm(1, highest), ATTENTION)
        for axis, (reader, source), plane in zip(row, pairs, maps, strict=True):
            title = f"stage {stage}, {span}\n{reader} reads {source}"
            _slice(axis, scene, source, title, np.maximum(plane, 1), scale)
            _frame(axis, plane[scene.box] > 0)
            axis.plot(*scene.cross[::-1], "+", color=plots.BLUE, markersize=11, markeredgewidth=2)
        bar = figure.colorbar(scale, ax=row, shrink=0.8, format="%g")
        bar.ax.yaxis.set_minor_locator(NullLocator())
    return figure


def _panels(rows: int, columns: int, scene: Scene, title: str) -> tuple[Figure, NDArray]:
    height_mm, width_mm = np.multiply(scene.tumor.shape, scene.pixel_mm)
    height_inches = 0.5 + rows * (0.45 + PANEL_INCHES * height_mm / width_mm)
    figure = plots.figure(1.2 + columns * PANEL_INCHES, height_inches)
    figure.suptitle(title, fontsize=11)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _slice(
    axis: Axes,
    scene: Scene,
    modality: str,
    title: str,
    plane: NDArray | None = None,
    scale: ScalarMappable | None = None,
) -> None:
    """CT or PET with a map over it and the predicted tumor outlined."""
    height_mm, width_mm = scene.pixel_mm
    how = {"aspect": height_mm / width_mm, "interpolation": "nearest"}
    axis.imshow(scene.gray[modality], cmap="gray", vmin=0, vmax=255, **how)
    if plane is not None and scale is not None:
        axis.imshow(_transparent(scale, plane[scene.box]), **how)
    if scene.tumor.any() and not scene.tumor.all():
        for color, width in (("black", 2.2), ("white", 1.0)):
            axis.contour(*_fine(scene.tumor), [0.5], colors=color, linewidths=width)
    side = "white" if modality == "CT" else "black"
    for x, text in ((0.03, "R"), (0.97, "L")):
        axis.text(x, 0.97, text, transform=axis.transAxes, va="top", ha="left" if x < 0.5 else "right", color=side)
    axis.set_title(title, fontsize=9)
    rows, columns = scene.tumor.shape
    axis.set(xticks=[], yticks=[], xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))


def _frame(axis: Axes, readable: NDArray) -> None:
    """Dashes around what may be read, where that is not all of the slice."""
    if readable.any() and not readable.all():
        axis.contour(*_fine(readable), [0.5], colors="gray", linewidths=1, linestyles="dashed")


def _fine(mask: NDArray, factor: int = 8) -> tuple[NDArray, NDArray, NDArray]:
    """Columns, rows and values of a mask so finely sampled that its outline follows the pixels' edges."""
    fine = np.pad(mask.repeat(factor, 0).repeat(factor, 1), 1).astype(float)
    rows, columns = ((np.arange(n) - 0.5) / factor - 0.5 for n in fine.shape)
    return columns, rows, fine


def _transparent(scale: ScalarMappable, plane: NDArray) -> NDArray:
    """Colors (rows, columns, 4), the more opaque the farther from the scale's neutral value."""
    neutral = 0.5 if isinstance(scale.norm, TwoSlopeNorm) else 0.0
    distance = np.abs(np.clip(scale.norm(plane), 0, 1) - neutral) / (1 - neutral)
    colors = scale.to_rgba(plane)
    colors[..., 3] = 0.85 * np.sqrt(distance)
    return colors
