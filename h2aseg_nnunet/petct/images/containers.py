"""Whether MetaImage, NRRD and GIPL files are whole, as far as ITK does not look: it fills in what is missing."""

import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.images.errors import PositionError

CHUNK_BYTES = 1 << 22
LONGEST_HEADER_BYTES = 1 << 20
GIPL_HEADER_BYTES = 256
SPACES = ("lps", "las", "ras", *(f"left-{a}-superior" for a in ("posterior", "anterior")), "right-anterior-superior")
SAVE = "Save it anew in left-posterior-superior."
ZLIB_OR_GZIP = 47
"""zlib's code for data in either of its two formats."""


def require_whole(file: Path, ending: str, voxel_bytes: int) -> None:
    """Make sure that every voxel is in the file, or in the files that it names, and that checksums fit.

    Args:
        file: An image that ITK could read.
        ending: Its format.
        voxel_bytes: Size of the voxels.

    Raises:
        UserError: If voxels are missing or damaged.
        PositionError: If it states no voxel size, which ITK takes for 1 mm.
    """
    if ending == ".gipl":
        _require_bytes(file, file.stat().st_size - GIPL_HEADER_BYTES, voxel_bytes)
    elif ending in (".mha", ".mhd"):
        _require_whole_metaimage(file, voxel_bytes)
    else:
        _require_whole_nrrd(file, voxel_bytes)


def _require_whole_metaimage(file: Path, voxel_bytes: int) -> None:
    fields, header_bytes, text = _fields(file, re.compile(rb"^\s*ElementDataFile\s*=.*?(\r?\n|$)", re.MULTILINE), "=")
    if not fields.keys() & {"elementspacing", "elementsize"}:
        raise PositionError(f"{file} states no voxel size (ElementSpacing). Convert it again from its source.")
    if fields.get("binarydata", "True")[:1] in "Ff":
        return  # text, of which ITK counts the numbers
    name = fields.get("elementdatafile", "LOCAL")
    local = name.upper() == "LOCAL"
    files = [file] if local else _data_files(file.parent, name, text)
    skipped = header_bytes if local else 0
    if fields.get("compresseddata", "False")[:1] not in "Tt":
        _require_bytes(file, sum(data.stat().st_size for data in files) - skipped, voxel_bytes)
        return
    if "compresseddatasize" not in fields:  # without which ITK reads nothing, silently
        raise UserError(f"{file} does not state the size of its compressed data. Save it again.")
    for data in files:
        _require_bytes(file, _inflated_bytes(file, data, skipped), voxel_bytes // len(files))


def _require_whole_nrrd(file: Path, voxel_bytes: int) -> None:
    fields, header_bytes, text = _fields(file, re.compile(rb"\r?\n\r?\n|\Z"), ":")
    if not fields.keys() & {"space directions", "spacings"}:
        raise PositionError(f"{file} states no voxel size (space directions). Convert it again from its source.")
    if "none" in fields.get("space directions", ""):
        raise PositionError(f"{file} states no voxel size of an axis (space directions). Convert it again.")
    if (space := fields.get("space", "LPS")).lower() not in SPACES:
        raise PositionError(f"{file} states its position in the space {space}, which programs read differently. {SAVE}")
    encoding = fields.get("encoding", "raw").lower()
    name = fields.get("data file", fields.get("datafile"))
    files = [file] if name is None else _data_files(file.parent, name, text)
    skipped = header_bytes if name is None else 0
    if encoding == "raw":
        _require_bytes(file, sum(data.stat().st_size for data in files) - skipped, voxel_bytes)
    elif encoding in ("gzip", "gz") and not fields.keys() & {"line skip", "lineskip", "byte skip", "byteskip"}:
        for data in files:
            _require_bytes(file, _inflated_bytes(file, data, skipped), voxel_bytes // len(files))


def _fields(file: Path, end: re.Pattern[bytes], separator: str) -> tuple[dict[str, str], int, str]:
    """The header's fields, its length in bytes, and the file's beginning, for lists of files."""
    with file.open("rb") as stream:
        start = stream.read(LONGEST_HEADER_BYTES)
    match = end.search(start)
    header_bytes = match.end() if match else len(start)
    lines = start[:header_bytes].decode("latin-1").splitlines()
    pairs = [line.split(separator, 1) for line in lines if separator in line and not line.startswith("#")]
    fields = {key.strip().lower(): value.strip() for key, value in pairs}
    return fields, header_bytes, start.decode("latin-1")


def _data_files(folder: Path, name: str, text: str) -> list[Path]:
    """The files that hold the voxels: one, a list below the header, or a pattern with first, last and step."""
    if name.upper().startswith("LIST"):
        names = [line.strip() for line in text.split(name, 1)[1].splitlines() if line.strip()]
    elif match := re.fullmatch(r"(.*%\S*d\S*)\s+(-?\d+)\s+(-?\d+)(?:\s+(-?\d+))?.*", name):
        first, last, step = int(match[2]), int(match[3]), int(match[4] or 1)
        names = [match[1] % number for number in range(first, last + (1 if step > 0 else -1), step or 1)]
    else:
        names = [name]
    return [file for file in (folder / name for name in names) if file.is_file()]


def _inflated_bytes(file: Path, data: Path, skipped: int) -> int:
    """Number of bytes that compressed data gives; its checksum is compared."""
    inflater = zlib.decompressobj(ZLIB_OR_GZIP)
    count = 0
    try:
        for chunk in _chunks(data, skipped):
            while chunk and not inflater.eof:
                count += len(inflater.decompress(chunk, CHUNK_BYTES))
                chunk = inflater.unconsumed_tail
    except zlib.error as error:
        raise UserError(f"{file} is damaged: {error}. Copy it again.") from error
    if not inflater.eof:
        raise UserError(f"{file} is incomplete: its compressed data has no end. Copy it again.")
    return count


def _chunks(file: Path, skipped: int) -> Iterator[bytes]:
    stream: BinaryIO
    with file.open("rb") as stream:
        stream.seek(skipped)
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk


def _require_bytes(file: Path, found: int, expected: int) -> None:
    if found < expected:
        raise UserError(f"{file} is incomplete: it holds {max(0, found)} of {expected} bytes of voxels. Copy it again.")
