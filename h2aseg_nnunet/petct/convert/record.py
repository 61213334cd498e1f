"""What the record of a conversion holds: what became of each case, and how to know its sources and files again."""

import os
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from h2aseg_nnunet.petct.convert.plan import Case, is_found

CHUNK_BYTES = 1 << 22


@dataclass(frozen=True)
class Record:
    """What became of a case.

    Attributes:
        patient: The patient, by whom folds are made.
        training: Whether it is a training case.
        stratum: The stratum of the plan, so that folds can be made where the source cannot be reached any more.
        refused: The reason, or None if the case was converted.
        sources: `fingerprint` of the case, which tells whether its files are still the same.
        files: What was done for the CT, PET and label: linked, copied, rewritten (same voxels, other header or
            format), reoriented (same voxels in another order), cropped (same voxels) or resampled.
        written: `mark_of` each file of the case, which tells whether it is still as it was written.
        size: Number of voxels of the converted case along x, y and z.
        spacing_mm: Voxel size of the converted case.
        axes: The directions in which its axes grow, "LPS" for left, back (posterior) and head (superior).
        lesion_ml: Volume of each label in the source and in the converted case.
        lesions: Number of lesions of each label in the source and in the converted case, and how many are lost.
        warnings: What a user should know of the case.
    """

    patient: str = ""
    training: bool = False
    stratum: str = ""
    refused: str | None = None
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    written: dict[str, dict[str, Any]] = field(default_factory=dict)
    size: list[int] = field(default_factory=list)
    spacing_mm: list[float] = field(default_factory=list)
    axes: str = ""
    lesion_ml: dict[str, dict[str, float]] = field(default_factory=dict)
    lesions: dict[str, dict[str, int]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def has_lesion(self) -> bool:
        return any(volume["converted"] > 0 for volume in self.lesion_ml.values())

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value not in (None, "", [], {})}

    @classmethod
    def of(cls, content: dict[str, Any]) -> "Record":
        """Read a record as JSON has it; keys of another version are passed over."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in content.items() if name in known})


def fingerprint(case: Case) -> dict[str, dict[str, Any]]:
    """Return name, size and time of change of each source file that can be reached."""
    status = {role: (file, file.stat()) for role, file in case.sources.items() if is_found(file)}
    return {
        role: {"file": str(file), "bytes": s.st_size, "modified_ns": s.st_mtime_ns}
        for role, (file, s) in status.items()
    }


def mark_of(file: Path) -> dict[str, Any]:
    """Return what tells a file that we wrote: where a link leads, or size, time and checksum of the content."""
    if file.is_symlink():
        return {"link": os.readlink(file)}
    status = file.stat()
    return {"bytes": status.st_size, "modified_ns": status.st_mtime_ns, "sha256": _checksum(file)}


def is_as_written(file: Path, mark: dict[str, Any] | None) -> bool:
    """Whether a file that exists is still the one that `mark_of` saw; copies of it are, whatever their time."""
    if mark is None or (not file.is_symlink() and not file.is_file()):
        return False
    if file.is_symlink() or "link" in mark:
        return file.is_symlink() and os.readlink(file) == mark.get("link")
    status = file.stat()
    if status.st_size != mark["bytes"]:
        return False
    return status.st_mtime_ns == mark["modified_ns"] or _checksum(file) == mark["sha256"]


def _checksum(file: Path) -> str:
    checksum = sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            checksum.update(chunk)
    return checksum.hexdigest()
