"""Reference masks out of DICOM SEG and RTSTRUCT objects, matched to studies by their UID."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import highdicom
import numpy as np
import SimpleITK
from matplotlib.path import Path as Polygon
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import RTStructureSetStorage, SegmentationStorage

from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.petct.dicom.series import Series
from h2aseg_nnunet.petct.dicom.stack import Stack, stack
from h2aseg_nnunet.petct.dicom.tree import Study
from h2aseg_nnunet.petct.images.grids import SAME_PLACE_VOXELS


class LabelObject(NamedTuple):
    """A DICOM object with masks.

    Attributes:
        file: The file.
        study: Study instance UID.
        kind: "SEG" or "RTSTRUCT".
        names: Names of its segments or ROIs, by their number.
    """

    file: Path
    study: str
    kind: str
    names: dict[int, str]


def find_label_objects(given: str | Path) -> dict[str, list[LabelObject]]:
    """Find SEG and RTSTRUCT objects in a file or below a folder, by study.

    Raises:
        UserError: If there is none.
    """
    root = Path(given)
    if not root.exists():
        raise UserError(f"--labels {root} does not exist: a DICOM SEG or RTSTRUCT, or a folder of them, is expected.")
    found: dict[str, list[LabelObject]] = defaultdict(list)
    for file in [root] if root.is_file() else sorted(file for file in root.rglob("*") if file.is_file()):
        try:
            header = dcmread(file, stop_before_pixels=True)
        except InvalidDicomError:
            continue
        uid = str(header.get("SOPClassUID", ""))
        if uid == SegmentationStorage:
            names = {int(each.SegmentNumber): str(each.SegmentLabel) for each in header.SegmentSequence}
            found[str(header.StudyInstanceUID)].append(LabelObject(file, str(header.StudyInstanceUID), "SEG", names))
        elif uid == RTStructureSetStorage:
            names = {int(each.ROINumber): str(each.ROIName) for each in header.StructureSetROISequence}
            found[str(header.StudyInstanceUID)].append(
                LabelObject(file, str(header.StudyInstanceUID), "RTSTRUCT", names)
            )
    if not found:
        raise UserError(f"--labels {root} holds no DICOM SEG or RTSTRUCT.")
    return dict(found)


def read_label(
    objects: Sequence[LabelObject], study: Study, series: Series, rois: Sequence[str] = ()
) -> SimpleITK.Image:
    """Read the tumor mask of a study.

    Args:
        objects: The objects of the study.
        study: The study, for messages.
        series: CT or PET on whose grid the contours of an RTSTRUCT are filled in; a SEG has a grid of its own.
        rois: Names of the segments or ROIs that are tumor; empty if there is only one.

    Returns:
        A mask of 0 and 1, by physical position.

    Raises:
        UserError: If there are several objects, or several ROIs and none is named, or a name is not there.
    """
    if len(objects) != 1:
        files = listing([str(each.file) for each in objects], 3)
        raise UserError(f"{study.name} has {len(objects)} label objects ({files}): keep the one to be used.")
    (label,) = objects
    numbers = _chosen(label, rois)
    if label.kind == "SEG":
        return _read_seg(label, numbers)
    return _read_rtstruct(label, numbers, series)


def _chosen(label: LabelObject, rois: Sequence[str]) -> list[int]:
    names = listing([f"'{name}'" for name in label.names.values()])
    if not rois and len(label.names) == 1:
        return list(label.names)
    if not rois:
        raise UserError(f"{label.file} has {len(label.names)} ROIs ({names}): name those that are tumor with --roi.")
    wanted = {name.casefold() for name in rois}
    chosen = [number for number, name in label.names.items() if name.casefold() in wanted]
    if not chosen:
        raise UserError(f"{label.file} has none of the ROIs {listing(list(rois))}; it has {names}.")
    return chosen


def _read_seg(label: LabelObject, numbers: Sequence[int]) -> SimpleITK.Image:
    segmentation = highdicom.seg.segread(label.file)
    try:
        volume = segmentation.get_volume(segment_numbers=list(numbers), combine_segments=False)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{label.file} is no volume: {' '.join(str(error).split())}") from error
    array = np.any(volume.array.reshape(*volume.spatial_shape, -1), axis=-1)
    image = SimpleITK.GetImageFromArray(np.asarray(array, np.uint8))
    slices, rows, columns = (np.asarray(vector) for vector in volume.unit_vectors())
    spacing = volume.spacing
    image.SetSpacing([float(value) for value in spacing[::-1]])
    image.SetOrigin([float(value) for value in volume.position])
    image.SetDirection(np.stack([columns, rows, slices], axis=1).ravel().tolist())
    return image


def _read_rtstruct(label: LabelObject, numbers: Sequence[int], series: Series) -> SimpleITK.Image:
    """Fill contours slice by slice; a contour within another is a hole, as exclusive or has it."""
    header = dcmread(label.file)
    stacked = stack(series)
    shape = len(stacked.slices), int(series.header.Rows), int(series.header.Columns)
    mask = np.zeros(shape, np.uint8)
    for number in numbers:
        of_roi = np.zeros(shape, bool)
        for roi in header.get("ROIContourSequence") or []:
            if int(roi.ReferencedROINumber) == number:
                for contour in roi.get("ContourSequence") or []:
                    _fill(of_roi, contour, stacked, label)
        mask |= of_roi
    image = SimpleITK.GetImageFromArray(mask)
    image.SetOrigin(stacked.origin_mm)
    image.SetSpacing(stacked.spacing_mm)
    image.SetDirection(stacked.direction)
    return image


def _fill(mask: NDArray[np.bool_], contour: Dataset, stacked: Stack, label: LabelObject) -> None:
    """Flip the voxels whose centers lie inside a closed contour."""
    points_mm = np.reshape([float(value) for value in contour.ContourData], (-1, 3))
    if len(points_mm) < 3:
        return  # a point or a line encloses nothing
    axes_mm = np.reshape(stacked.direction, (3, 3)) * stacked.spacing_mm
    index = (points_mm - stacked.origin_mm) @ np.linalg.inv(axes_mm).T
    k = round(float(index[:, 2].mean()))
    if np.abs(index[:, 2] - k).max() > 10 * SAME_PLACE_VOXELS or not 0 <= k < len(mask):
        raise UserError(
            f"{label.file}: a contour at {points_mm[0].round(1).tolist()} mm lies on no slice of the series: give the "
            "series on which it was drawn (--ct-series or --pet-series)."
        )
    low = np.maximum(np.floor(index[:, :2].min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(index[:, :2].max(axis=0)).astype(int), np.array(mask.shape[:0:-1]) - 1)
    x, y = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
    inside = Polygon(index[:, :2]).contains_points(np.column_stack([x.ravel(), y.ravel()]))
    mask[k, low[1] : high[1] + 1, low[0] : high[0] + 1] ^= inside.reshape(x.shape)
