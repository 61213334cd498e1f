"""Models as they are handed on: folder or zip, whole or damaged, and on which grid they were trained."""

import hashlib
import zipfile
from pathlib import Path

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.nnunet.dataset_json import read_dataset_json

MANIFEST = "SHA256SUMS"
"""File of `h2aseg export` that lists the checksum of every other file of a model, as `sha256sum -c` reads it."""

LFS_POINTER = b"version https://git-lfs"

CHUNK_BYTES = 1 << 22


def checksum(file: Path) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def require_whole(model: Path) -> None:
    """Make sure that the files of a model are those of its manifest; a model without one is taken as it is.

    Raises:
        UserError: If a file is missing or has changed; the message names it.
    """
    manifest = model / MANIFEST
    if not manifest.is_file():
        return
    for line in manifest.read_text(encoding="utf-8").splitlines():
        expected, _, name = line.partition("  ")
        file = model / name
        if not file.is_file():
            raise UserError(f"{file} is missing, but {MANIFEST} lists it: the model is incomplete. Copy it again.")
        if checksum(file) != expected:
            with file.open("rb") as stream:
                pointer = stream.read(len(LFS_POINTER)) == LFS_POINTER
            remedy = "It only stands for the file: git lfs pull." if pointer else "The model is damaged: copy it again."
            raise UserError(f"{file} is not the file that {MANIFEST} lists. {remedy}")


def model_folder(model: Path, unpacked: Path) -> Path:
    """Return the folder of a model; a zip is unpacked.

    Args:
        model: A folder with plans.json, or a zip with one such folder.
        unpacked: Empty folder for what the zip holds.

    Raises:
        UserError: If it is neither, the zip does not hold one model, or a file is damaged.
    """
    if model.is_dir():
        return model.absolute()
    if not zipfile.is_zipfile(model):
        raise UserError(f"-m {model} is neither a model folder nor a zip of nnUNetv2_export_model_to_zip.")
    try:
        with zipfile.ZipFile(model) as archive:
            archive.extractall(unpacked)
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise UserError(f"-m {model} is damaged: {error}. Copy it again.") from error
    found = sorted({file.parent for file in unpacked.rglob("plans.json") if (file.parent / "dataset.json").is_file()})
    if len(found) != 1:
        names = ", ".join(folder.name for folder in found) or "none"
        raise UserError(f"-m {model} should hold one model, but holds {names}: unpack it and give the folder.")
    return found[0]


def grid_of_training(model: Path) -> str:
    """Return the grid onto which `h2aseg convert` brought the training set; the PET's, as in AutoPET, if unknown."""
    conversion = read_dataset_json(model / "dataset.json").get("conversion") or {}
    spacing_mm = conversion.get("spacing_mm")
    if spacing_mm and len(set(spacing_mm)) == 1:
        return f"{spacing_mm[0]:g}"
    return "ct" if conversion and "AutoPET" not in str(conversion.get("layout")) else "pet"


def name_of(model: Path) -> str:
    """Return the name of a model in results and objects."""
    return f"{model.parent.name}/{model.name}" if model.parent.name.startswith("Dataset") else model.name
