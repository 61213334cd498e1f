"""Slices ordered by their positions along the slice normal. What forms no volume is refused by name."""

from collections import defaultdict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.dicom.series import Series, Slice
from h2aseg_nnunet.petct.dicom.values import number, value_of
from h2aseg_nnunet.petct.images.grids import SAME_PLACE_VOXELS

PARALLEL = 1e-3
"""Largest difference of direction cosines between slices of one volume: headers round them."""

FEWEST_SLICES = 2


class Stack(NamedTuple):
    """Slices in the order of the volume, and where the volume is.

    Attributes:
        slices: From the first to the last along the normal.
        origin_mm: Center of the first voxel, in the patient's coordinates (LPS).
        spacing_mm: Size of the voxels along rows, columns and slices (x, y, z).
        direction: 3 x 3 matrix, row by row, whose columns are the axes.
    """

    slices: list[Slice]
    origin_mm: tuple[float, ...]
    spacing_mm: tuple[float, float, float]
    direction: tuple[float, ...]

    @property
    def extent_mm(self) -> tuple[float, float]:
        """First and last position along the patient's head-foot axis."""
        ends = self.slices[0].position_mm, self.slices[-1].position_mm
        heights = sorted(position[2] for position in ends if position is not None)
        return heights[0], heights[-1]


def stack(series: Series) -> Stack:
    """Order the slices of a series.

    Raises:
        UserError: If slices are missing, doubled, unevenly spaced or sheared (gantry tilt), of several directions or
            sizes, or without a position; the message names the series, how many and where.
    """
    slices = series.slices
    if len(slices) < FEWEST_SLICES:
        raise UserError(f"{series.name} has {len(slices)} slice: a volume is expected.")
    _refuse_mixed(series)
    rows, columns, normal = _directions(series)
    positions = np.array([each.position_mm for each in slices])
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    _refuse_doubled(series, along[order], [slices[i] for i in order])
    gap_mm = _even_gap(series, along[order])
    _refuse_shear(series, positions[order], normal, gap_mm)
    _refuse_fewer(series)
    row_mm, column_mm = _common_spacing(series)
    return Stack(
        [slices[i] for i in order],
        tuple(positions[order[0]].tolist()),
        (column_mm, row_mm, gap_mm),
        tuple(np.stack([rows, columns, normal], axis=1).ravel().tolist()),
    )


def _refuse_mixed(series: Series) -> None:
    """What is read from one file of a series must hold for all of them."""
    for name, files in series.variants.items():
        if len(files) > 1:
            (one, first), (other, second) = list(files.items())[:2]
            raise UserError(
                f"{series.name} has files with different {name}: {one or 'none'} in {first}, {other or 'none'} in "
                f"{second}. Export it again, or as several series."
            )


def _directions(series: Series) -> tuple[NDArray, NDArray, NDArray]:
    """Unit vectors along rows, columns and slices."""
    missing = [each for each in series.slices if each.position_mm is None or each.orientation is None]
    if missing:
        raise UserError(
            f"{series.name}: {len(missing)} of {len(series.slices)} slices have no valid ImagePositionPatient or "
            f"ImageOrientationPatient, for instance {missing[0].file}."
        )
    orientations = np.array([each.orientation for each in series.slices])
    if np.abs(orientations - orientations[0]).max() > PARALLEL:
        count = len(np.unique(np.round(orientations, 3), axis=0))
        raise UserError(f"{series.name} has slices of {count} orientations: one volume is expected.")
    rows, columns = orientations[0, :3], orientations[0, 3:]
    lengths = np.linalg.norm(rows), np.linalg.norm(columns)
    if abs(float(rows @ columns)) > PARALLEL or max(abs(length - 1) for length in lengths) > PARALLEL:
        raise UserError(f"{series.name}: ImageOrientationPatient {orientations[0].tolist()} is not a pair of axes.")
    rows, columns = rows / lengths[0], columns / lengths[1]
    return rows, columns, np.cross(rows, columns)


def _refuse_doubled(series: Series, along_mm: NDArray, slices: list[Slice]) -> None:
    """Two slices at one place: two time points, or a file twice."""
    same = np.flatnonzero(np.diff(along_mm) < 1e-3)
    if not same.size:
        return
    places = len(along_mm) - same.size
    times = {each.acquired for each in slices} - {None}
    at_one_place = defaultdict(set)
    for mm, each in zip(np.round(along_mm, 2), slices, strict=True):
        at_one_place[mm].add((each.acquired, each.frame_reference_s))
    if len(times) > 1 and all(len(moments) > 1 for moments in at_one_place.values()):
        raise UserError(
            f"{series.name} has {len(slices)} slices at {places} positions, acquired at different times: several time "
            "points in one series. Export the one to be used as a series of its own."
        )
    raise UserError(
        f"{series.name} has {same.size} doubled slices, the first at {along_mm[same[0]]:.2f} mm along the normal: "
        f"{slices[same[0]].file} and {slices[same[0] + 1].file}. Remove one of each."
    )


def _even_gap(series: Series, along_mm: NDArray) -> float:
    """The distance between slices, if all have one."""
    gaps = np.diff(along_mm)
    usual = float(np.median(gaps))
    multiples = np.rint(gaps / usual)
    if (np.abs(gaps / usual - multiples) < SAME_PLACE_VOXELS).all() and multiples.max() > 1:
        where = int(np.argmax(multiples > 1))
        raise UserError(
            f"{series.name} lacks {int((multiples - 1).sum())} slices: after {along_mm[where]:.2f} mm along the normal "
            f"the next is at {along_mm[where + 1]:.2f} mm, others are {usual:.2f} mm apart. Export the series again."
        )
    mean = float((along_mm[-1] - along_mm[0]) / (len(along_mm) - 1))
    off = np.abs(along_mm - (along_mm[0] + mean * np.arange(len(along_mm)))) / mean
    if off.max() > SAME_PLACE_VOXELS:
        where = int(np.argmax(np.abs(gaps - usual)))
        raise UserError(
            f"{series.name} has unevenly spaced slices: {gaps[where]:.2f} mm after {along_mm[where]:.2f} mm along the "
            f"normal, usually {usual:.2f} mm. Slices may be missing; export the series again."
        )
    return mean


def _refuse_fewer(series: Series) -> None:
    """Slices that lack at an end leave no gap, but a PET says how many there are."""
    told = number(value_of(series.header, "NumberOfSlices"))
    if series.modality == "PT" and told is not None and len(series.slices) < told:
        raise UserError(
            f"{series.name} lacks {told - len(series.slices):g} of {told:g} slices (NumberOfSlices, 0054,0081), at an "
            "end. Export the series again."
        )


def _refuse_shear(series: Series, positions: NDArray, normal: NDArray, gap_mm: float) -> None:
    """A volume whose slices shift sidewards has no rectangular grid."""
    across = positions - positions[0] - np.outer((positions - positions[0]) @ normal, normal)
    sidewards_mm = float(np.linalg.norm(across, axis=1).max())
    if sidewards_mm > SAME_PLACE_VOXELS * min(gap_mm, *_common_spacing(series)):
        degrees = np.rad2deg(np.arctan2(sidewards_mm, gap_mm * (len(positions) - 1)))
        raise UserError(
            f"{series.name} was acquired with a tilted gantry ({degrees:.1f} degrees): slices shift by up to "
            f"{sidewards_mm:.2f} mm. Export a reconstruction without tilt."
        )


def _common_spacing(series: Series) -> tuple[float, float]:
    spacings = {each.spacing_mm for each in series.slices}
    values = [spacing for spacing in spacings if spacing is not None]
    if len(values) != len(spacings) or np.ptp(values, axis=0).max() > 1e-3 or np.min(values) <= 0:
        raise UserError(f"{series.name}: PixelSpacing is missing, zero or differs between slices.")
    return values[0]
