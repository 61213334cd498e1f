"""Series of DICOM images and their slices, as far as headers tell; no pixel is read."""

import math
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from pydicom.dataset import Dataset

from h2aseg_nnunet.petct.dicom.enhanced import RealWorld, real_world
from h2aseg_nnunet.petct.dicom.values import number, parse_datetime, private_value, text_of, time_of, value_of

CT_CLASSES = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
PET_CLASSES = ("1.2.840.10008.5.1.4.1.1.128", "1.2.840.10008.5.1.4.1.1.130", "1.2.840.10008.5.1.4.1.1.128.1")
"""SOP classes of CT and PET images: classic, enhanced (multi-frame), and legacy converted enhanced."""

Vector = tuple[float, float, float]

OF_THE_SERIES = ("PatientID", "FrameOfReferenceUID", "SOPClassUID", "Rows", "Columns", "RescaleType")
OF_A_PET = (
    *("Units", "SUVType", "DecayCorrection", "CorrectedImage", "PatientWeight", "SeriesDate", "SeriesTime"),
    *("RadionuclideTotalDose", "RadionuclideHalfLife"),
    *("RadiopharmaceuticalStartTime", "RadiopharmaceuticalStartDateTime"),
)
"""What all files of a series must have in common, because it is read from one of them."""

DURATIONS = ("FrameAcquisitionDuration", "ActualFrameDuration")


class Slice(NamedTuple):
    """One slice: a file, or a frame of a multi-frame file.

    Attributes:
        file: The file.
        frame: Index of the frame in the file, from 0.
        uid: SOP instance UID of the file.
        position_mm: Center of the first voxel in the patient's coordinates (LPS), or None.
        orientation: Directions of rows and of columns, six numbers, or None.
        spacing_mm: Distance between rows and between columns, or None.
        slope, intercept: What turns stored values into measured ones; None where the header has none.
        acquired: When the acquisition of the slice began, or None.
        frame_reference_s: Time at which the values of the frame hold, after the series' reference; None if unknown.
        duration_s: Duration of the frame, None if unknown.
        world: Real world values of an enhanced image's frame, or None.
    """

    file: Path
    frame: int
    uid: str
    position_mm: Vector | None
    orientation: tuple[float, ...] | None
    spacing_mm: tuple[float, float] | None
    slope: float | None
    intercept: float | None
    acquired: datetime | None
    frame_reference_s: float | None
    duration_s: float | None
    world: RealWorld | None = None


class Series(NamedTuple):
    """Images that were reconstructed together.

    Attributes:
        uid: Series instance UID.
        header: The header of one of its files, without pixels.
        slices: In the order of the files.
        variants: By name of what its files must have in common: every value, with the first file that has it.
    """

    uid: str
    header: Dataset
    slices: list[Slice]
    variants: dict[str, dict[str, Path]]

    @property
    def modality(self) -> str:
        """CT, PT, or empty for anything else."""
        uid = str(self.header.get("SOPClassUID", ""))
        return "CT" if uid in CT_CLASSES else "PT" if uid in PET_CLASSES else ""

    @property
    def frame_of_reference(self) -> str:
        return str(self.header.get("FrameOfReferenceUID", ""))

    @property
    def number(self) -> int:
        """Series number; a large one where there is none."""
        found = number(value_of(self.header, "SeriesNumber"))
        return int(found) if found is not None and math.isfinite(found) else 1_000_000

    @property
    def units(self) -> str:
        """Units of a PET, in capitals: BQML, CNTS, GML, ...; empty if unknown."""
        units = text_of(self.header, "Units").upper()
        world = next((each.world for each in self.slices if each.world is not None), None)
        return units or (world.units if world is not None else "")

    @property
    def name(self) -> str:
        """Number, description and UID, for messages."""
        description = text_of(self.header, "SeriesDescription") or "without description"
        return f"series {text_of(self.header, 'SeriesNumber') or '?'} ({description}, {self.uid})"

    @property
    def image_type(self) -> list[str]:
        value = value_of(self.header, "ImageType") or []
        return [str(each).upper() for each in ([value] if isinstance(value, str) else value)]


def read_slices(header: Dataset, file: Path) -> list[Slice]:
    """Return the slices of one file."""
    if "PerFrameFunctionalGroupsSequence" not in header:
        return [_slice([header], header, file, 0, None)]
    shared = list(header.get("SharedFunctionalGroupsSequence") or [])
    groups_of_all = [group for each in shared for group in _groups(each)]
    return [
        _slice([*_groups(frame), *groups_of_all, header], header, file, index, real_world([frame, *shared]))
        for index, frame in enumerate(header.PerFrameFunctionalGroupsSequence)
    ]


def common_values(header: Dataset) -> dict[str, str]:
    """Return what all files of a series must have in common, as text."""
    values = {name: text_of(header, name) for name in OF_THE_SERIES}
    if values["SOPClassUID"] in PET_CLASSES:
        drug = next(iter(value_of(header, "RadiopharmaceuticalInformationSequence") or []), Dataset())
        values |= {name: text_of(drug if name in drug else header, name) for name in OF_A_PET}
        for element in (0x00, 0x09):
            factor = private_value(header, 0x7053, "PHILIPS PET", element)
            values[f"Philips' factor (7053,10{element:02X})"] = "" if factor is None else str(factor)
    return values


def _groups(frame: Dataset) -> Iterator[Dataset]:
    """The functional groups of a frame: each a sequence of one item."""
    for element in frame:
        if element.VR == "SQ" and element.value:
            yield element.value[0]


def _slice(groups: list[Dataset], header: Dataset, file: Path, frame: int, world: RealWorld | None) -> Slice:
    def value(*names: str) -> Any:
        found = (value_of(group, name) for name in names for group in groups)
        return next((each for each in found if each is not None), None)

    def numbers(name: str, count: int) -> tuple[float, ...] | None:
        found = value(name)
        values = [] if found is None or isinstance(found, str) else [number(each) for each in found]
        whole = len(values) == count and all(each is not None and math.isfinite(each) for each in values)
        return _shared(tuple(values)) if whole else None

    acquired = (time_of(group, "Acquisition") for group in groups)
    duration_s, reference_s = (_seconds(value(*names)) for names in (DURATIONS, ("FrameReferenceTime",)))
    slope, intercept = number(value("RescaleSlope")), number(value("RescaleIntercept"))
    if slope is None and intercept is None and world is not None:
        slope, intercept = world.slope, world.intercept
    return Slice(
        file,
        frame,
        str(header.get("SOPInstanceUID", "")),
        numbers("ImagePositionPatient", 3),  # type: ignore[arg-type]  # three numbers, as asked for
        numbers("ImageOrientationPatient", 6),
        numbers("PixelSpacing", 2),  # type: ignore[arg-type]
        slope,
        intercept,
        parse_datetime(value("FrameAcquisitionDateTime")) or next((time for time in acquired if time), None),
        reference_s,
        duration_s,
        world,
    )


def _seconds(milliseconds: object) -> float | None:
    found = number(milliseconds)
    return found / 1000 if found is not None and math.isfinite(found) else None


@lru_cache(1024)
def _shared(values: tuple[float, ...]) -> tuple[float, ...]:
    """Equal values of many slices take memory once."""
    return values


def is_image(header: Dataset, name: str = "SOPClassUID") -> bool:
    """Whether the header describes CT or PET images."""
    return text_of(header, name) in (*CT_CLASSES, *PET_CLASSES)
