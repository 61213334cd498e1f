"""Studies in a folder of DICOM files, whatever the files are called and however they lie."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from tqdm import tqdm

from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.petct.dicom.enhanced import add_converted
from h2aseg_nnunet.petct.dicom.series import Series, Slice, common_values, is_image, read_slices
from h2aseg_nnunet.petct.dicom.values import quietly, text_of


class Study(NamedTuple):
    """One examination of a patient.

    Attributes:
        uid: Study instance UID.
        patient: Patient ID; the study's UID where the files have none.
        date: Study date, YYYYMMDD, or empty.
        series: CT and PET series by their UID.
        faults: Why the study must not be used; what cannot be attributed to a series.
        remarks: What the user should know of it.
    """

    uid: str
    patient: str
    date: str
    series: dict[str, Series]
    faults: list[str]
    remarks: list[str]

    @property
    def name(self) -> str:
        """Patient, date and UID, for messages."""
        return f"study {self.uid} (patient {self.patient}, {self.date or 'no date'})"


class Tree(NamedTuple):
    """What a folder holds.

    Attributes:
        studies: In the order of patients and dates.
        passed_over: Number of files that hold no CT or PET image.
        unreadable: Files and folders that could not be read and belong to no study that is known, with the reason.
    """

    studies: list[Study]
    passed_over: int
    unreadable: dict[Path, str]


@quietly()
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
    passed_over: list[Path] = []
    for file in tqdm(_files(root, unreadable), "Reading headers", unit="file", delay=2, leave=False):
        read = _read(file, unreadable)
        if read is None:
            passed_over += [file] if file not in unreadable else []
        else:
            _add(studies, *read)
    if not studies:
        raise UserError(
            f"{root} holds no CT or PET image in DICOM format{_instead(root, len(passed_over), unreadable)}"
        )
    for study in studies.values():
        patients = {text_of(each.header, "PatientID") for each in study.series.values()} - {""}
        if len(patients) > 1:
            study.faults.append(f"its files are of {len(patients)} patients: {listing(sorted(patients), 3)}")
    _attribute(unreadable, passed_over, studies.values())
    ordered = sorted(studies.values(), key=lambda study: (study.patient, study.date, study.uid))
    return Tree(ordered, len(passed_over), unreadable)


def _files(root: Path, unreadable: dict[Path, str]) -> Iterator[Path]:
    def note(error: OSError) -> None:
        unreadable[Path(error.filename)] = error.strerror or str(error)

    seen = set()
    for folder, folders, names in os.walk(root, onerror=note, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:  # a link may lead back
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names) if name.upper() != "DICOMDIR")


INDISPENSABLE = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "Rows", "Columns")
"""What every image has. Rows and Columns come late in a file: one that was cut off before its pixels lacks them."""


class _Image(NamedTuple):
    header: Dataset
    slices: list[Slice]
    common: dict[str, str]
    file: Path


def _read(file: Path, unreadable: dict[Path, str]) -> _Image | None:
    """None for what is no CT or PET image, or cannot be read."""
    try:
        if not file.stat().st_size:
            unreadable[file] = "empty file"
            return None
        header = _read_header(file)
        if header is None or not is_image(header):
            return None
        if missing := [name for name in INDISPENSABLE if not text_of(header, name)]:
            unreadable[file] = f"damaged DICOM file: {missing[0]} is missing"
            return None
        add_converted(header)
        return _Image(header, read_slices(header, file), common_values(header), file)
    except OSError as error:
        unreadable[file] = error.strerror or str(error)
    except Exception as error:  # pydicom raises whatever a damaged file makes it raise
        unreadable[file] = f"damaged DICOM file ({type(error).__name__}: {' '.join(str(error).split())[:160]})"
    return None


def _read_header(file: Path) -> Dataset | None:
    """None for what is not DICOM."""
    try:
        header = dcmread(file, stop_before_pixels=True)
        if not is_image(header) and is_image(header.file_meta, "MediaStorageSOPClassUID"):
            header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID  # the file was cut off before or in it
        if not text_of(header, "SOPClassUID") and not text_of(header.file_meta, "MediaStorageSOPClassUID"):
            raise ValueError("it ends before SOPClassUID")
        return header
    except InvalidDicomError:  # some archives leave the preamble out
        return dcmread(file, stop_before_pixels=True, force=True) if _begins_with_a_tag(file) else None


def _is_dicom(file: Path) -> bool:
    with file.open("rb") as stream:
        stream.seek(128)
        return stream.read(4) == b"DICM" or _begins_with_a_tag(file)


def _begins_with_a_tag(file: Path) -> bool:
    """Whether a file begins as a DICOM data set does: with an element of group 0002 or 0008."""
    with file.open("rb") as stream:
        return stream.read(2) in (b"\x02\0", b"\x08\0")


def _add(studies: dict[str, Study], header: Dataset, slices: list[Slice], common: dict[str, str], file: Path) -> None:
    uid, series_uid = text_of(header, "StudyInstanceUID"), text_of(header, "SeriesInstanceUID")
    study = studies.get(uid)
    if study is None:
        patient = text_of(header, "PatientID") or uid
        study = studies[uid] = Study(uid, patient, text_of(header, "StudyDate"), {}, [], [])
    series = study.series.setdefault(series_uid, Series(series_uid, header, [], {}))
    series.slices.extend(slices)
    for name, value in common.items():
        series.variants.setdefault(name, {}).setdefault(value, file)


def _attribute(unreadable: dict[Path, str], passed_over: list[Path], studies: Iterable[Study]) -> None:
    """A damaged file in a folder of one study may be a slice of it, which nobody would miss at the volume's end."""
    studies_of: dict[Path, list[Study]] = {}
    for study in studies:
        for folder in {each.file.parent for series in study.series.values() for each in series.slices}:
            studies_of.setdefault(folder, []).append(study)
    for file, reason in list(unreadable.items()):
        if len(of_folder := studies_of.get(file.parent, [])) == 1 and not file.is_dir():
            of_folder[0].faults.append(f"{file} cannot be read: {reason}")
            del unreadable[file]
    for file in passed_over:
        if len(of_folder := studies_of.get(file.parent, [])) == 1 and not file.suffix and not _is_dicom(file):
            of_folder[0].remarks.append(f"{file} beside the images is no DICOM file")


def _instead(root: Path, passed_over: int, unreadable: dict[Path, str]) -> str:
    """What a folder without images holds."""
    index = any(file.name.upper() == "DICOMDIR" for file in root.iterdir())
    said = " but a DICOMDIR: copy the folders of images beside it as well" if index and not passed_over else ""
    first = "".join(f" {file}: {reason}." for file, reason in list(unreadable.items())[:1])
    return f"{said} ({passed_over} other files).{first}"
