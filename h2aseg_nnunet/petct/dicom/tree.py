"""Studies in a folder of DICOM files, whatever the files are called and however they lie."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.dicom.series import Series, is_image, read_slices


class Study(NamedTuple):
    """One examination of a patient.

    Attributes:
        uid: Study instance UID.
        patient: Patient ID; the study's UID where the files have none.
        date: Study date, YYYYMMDD, or empty.
        series: CT and PET series by their UID.
    """

    uid: str
    patient: str
    date: str
    series: dict[str, Series]

    @property
    def name(self) -> str:
        """Patient, date and UID, for messages."""
        return f"study {self.uid} (patient {self.patient}, {self.date or 'no date'})"


class Tree(NamedTuple):
    """What a folder holds.

    Attributes:
        studies: In the order of patients and dates.
        passed_over: Number of files that hold no CT or PET image.
        unreadable: Files that could not be read, with the reason.
    """

    studies: list[Study]
    passed_over: int
    unreadable: dict[Path, str]


def read_tree(folder: str | Path) -> Tree:
    """Read all headers below a folder; names and endings of files say nothing.

    Raises:
        UserError: If the folder does not exist, or holds no CT or PET image.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UserError(f"{root} is not a folder: a folder of DICOM files, for instance a PACS export, is expected.")
    studies: dict[str, Study] = {}
    unreadable: dict[Path, str] = {}
    passed_over = 0
    for file in _files(root, unreadable):
        header = _read_header(file, unreadable)
        if header is None or not is_image(header):
            passed_over += file not in unreadable
            continue
        _add(studies, header, file)
    if not studies:
        details = "".join(f" {file}: {reason}." for file, reason in list(unreadable.items())[:1])
        raise UserError(f"{root} holds no CT or PET image in DICOM format ({passed_over} other files).{details}")
    ordered = sorted(studies.values(), key=lambda study: (study.patient, study.date, study.uid))
    return Tree(ordered, passed_over, unreadable)


def _files(root: Path, unreadable: dict[Path, str]) -> Iterator[Path]:
    def note(error: OSError) -> None:
        unreadable[Path(error.filename)] = error.strerror or str(error)

    for folder, folders, names in os.walk(root, onerror=note):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names) if name.upper() != "DICOMDIR")


def _read_header(file: Path, unreadable: dict[Path, str]) -> Dataset | None:
    """None for what is not DICOM, or cannot be read."""
    try:
        try:
            return dcmread(file, stop_before_pixels=True)
        except InvalidDicomError:  # some archives leave the preamble out
            return dcmread(file, stop_before_pixels=True, force=True) if _begins_with_a_tag(file) else None
    except OSError as error:
        unreadable[file] = error.strerror or str(error)
    except Exception as error:  # pydicom raises whatever a damaged file makes it raise
        unreadable[file] = f"damaged DICOM file ({type(error).__name__}: {error})"
    return None


def _begins_with_a_tag(file: Path) -> bool:
    """Whether a file begins as a DICOM data set does: with an element of group 0002 or 0008."""
    with file.open("rb") as stream:
        return stream.read(2) in (b"\x02\0", b"\x08\0")


def _add(studies: dict[str, Study], header: Dataset, file: Path) -> None:
    uid, series_uid = str(header.get("StudyInstanceUID", "")), str(header.get("SeriesInstanceUID", ""))
    patient = str(header.get("PatientID") or "").strip() or uid
    study = studies.setdefault(uid, Study(uid, patient, str(header.get("StudyDate") or ""), {}))
    series = study.series.setdefault(series_uid, Series(series_uid, header, []))
    series.slices.extend(read_slices(header, file))
