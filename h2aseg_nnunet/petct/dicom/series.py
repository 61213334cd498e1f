"""Series of DICOM images and their slices, as far as headers tell; no pixel is read."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pydicom.valuerep import DA, DT, TM

CT_CLASSES = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
PET_CLASSES = ("1.2.840.10008.5.1.4.1.1.128", "1.2.840.10008.5.1.4.1.1.130", "1.2.840.10008.5.1.4.1.1.128.1")
"""SOP classes of CT and PET images: classic, enhanced (multi-frame), and legacy converted enhanced."""

Vector = tuple[float, float, float]


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


class Series(NamedTuple):
    """Images that were reconstructed together.

    Attributes:
        uid: Series instance UID.
        header: The header of one of its files, without pixels.
        slices: In the order of the files.
    """

    uid: str
    header: Dataset
    slices: list[Slice]

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
        return int(self.header.get("SeriesNumber") or 1_000_000)

    @property
    def name(self) -> str:
        """Number, description and UID, for messages."""
        description = str(self.header.get("SeriesDescription", "")).strip() or "without description"
        return f"series {self.header.get('SeriesNumber', '?')} ({description}, {self.uid})"

    @property
    def image_type(self) -> list[str]:
        return [str(value).upper() for value in self.header.get("ImageType") or []]


def read_slices(header: Dataset, file: Path) -> list[Slice]:
    """Return the slices of one file."""
    if "PerFrameFunctionalGroupsSequence" not in header:
        return [_slice([header], header, file, 0)]
    shared = list(header.get("SharedFunctionalGroupsSequence") or [])
    return [
        _slice([*_groups(frame), *(group for each in shared for group in _groups(each)), header], header, file, index)
        for index, frame in enumerate(header.PerFrameFunctionalGroupsSequence)
    ]


def time_of(header: Dataset, kind: str) -> datetime | None:
    """Return the date and time of "Series" or "Acquisition"; None where the header lacks the time or any date."""
    if both := parse_datetime(header.get(f"{kind}DateTime")):
        return both
    date = next((header.get(f"{name}Date") for name in (kind, "Series", "Study") if header.get(f"{name}Date")), None)
    return join_datetime(date, header.get(f"{kind}Time"))


def _groups(frame: Dataset) -> Iterator[Dataset]:
    """The functional groups of a frame: each a sequence of one item."""
    for element in frame:
        if element.VR == "SQ" and element.value:
            yield element.value[0]


def _slice(groups: list[Dataset], header: Dataset, file: Path, frame: int) -> Slice:
    def value(*names: str):
        return next(
            (group[name].value for name in names for group in groups if name in group and group[name].value != ""), None
        )

    def numbers(name: str, count: int) -> tuple[float, ...] | None:
        found = value(name)
        return tuple(map(float, found)) if found is not None and len(found) == count else None

    acquired = parse_datetime(value("FrameAcquisitionDateTime")) or time_of(header, "Acquisition")
    duration_ms = value("FrameAcquisitionDuration", "ActualFrameDuration")
    reference_ms = header.get("FrameReferenceTime")
    position, spacing = numbers("ImagePositionPatient", 3), numbers("PixelSpacing", 2)
    return Slice(
        file,
        frame,
        str(header.get("SOPInstanceUID", "")),
        position,  # type: ignore[arg-type]  # three numbers, as asked for
        numbers("ImageOrientationPatient", 6),
        spacing,  # type: ignore[arg-type]
        _number(value("RescaleSlope")),
        _number(value("RescaleIntercept")),
        acquired,
        None if reference_ms in (None, "") else float(reference_ms) / 1000,
        None if duration_ms in (None, "") else float(duration_ms) / 1000,
    )


def _number(value: object) -> float | None:
    return None if value in (None, "") else float(str(value))


def parse_datetime(value: object) -> datetime | None:
    """Read a DT value as local time; None if it is missing or malformed."""
    try:
        return _naive(DT(str(value))) if value else None
    except (ValueError, TypeError):
        return None


def _naive(value: DT | None) -> datetime | None:
    return None if value is None else value.replace(tzinfo=None)


def join_datetime(date: object, time: object) -> datetime | None:
    """Join a DA and a TM value; None if one of them is missing or malformed."""
    try:
        day, moment = (DA(str(date)) if date else None), (TM(str(time)) if time else None)
    except (ValueError, TypeError):
        return None
    if day is None or moment is None:
        return None
    return datetime(day.year, day.month, day.day) + timedelta(
        hours=moment.hour, minutes=moment.minute, seconds=moment.second, microseconds=moment.microsecond
    )


def is_image(header: Dataset) -> bool:
    """Whether the header describes CT or PET images."""
    return UID(str(header.get("SOPClassUID", ""))) in (*CT_CLASSES, *PET_CLASSES)
