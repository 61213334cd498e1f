"""Files of cases in nnU-Net's folders: case_0000.nii.gz, case_0001.nii.gz, ... and masks case.nii.gz."""

import re
from pathlib import Path
from typing import NamedTuple

from h2aseg_nnunet.errors import UserError

IMAGE_ENDINGS = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr", ".gipl")
"""Formats with a place for spacing and origin whose files can be checked; other files in a folder are passed over."""

DATASET_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".gipl")
"""The image endings that nnU-Net's dataset.json may declare."""


class ImageFiles(NamedTuple):
    """The images of one case, in the order of their channels."""

    name: str
    images: list[Path]


def find_cases(given: Path, num_channels: int, file_ending: str) -> list[ImageFiles]:
    """Find the cases meant by a folder (all in it), by FOLDER/case, or by one file of a case.

    Args:
        given: Path as the user wrote it.
        num_channels: Number of images of each case.
        file_ending: Ending of the images, from dataset.json.

    Raises:
        UserError: If there is none, or files are missing.
    """
    channel = re.compile(rf"(.+)_\d{{4}}{re.escape(file_ending)}")
    if given.is_dir():
        found = (channel.fullmatch(file.name) for file in given.iterdir() if not file.name.startswith("."))
        names = sorted({match[1] for match in found if match})
        if not names:
            raise UserError(f"{given} holds no case: no file like case_0000{file_ending} is in it.")
        return [_files(given, name, num_channels, file_ending) for name in names]
    match = channel.fullmatch(given.name)
    return [_files(given.parent, match[1] if match else given.name, num_channels, file_ending)]


def images_in(folder: Path) -> dict[str, Path]:
    """Find the images of a folder by name without ending; hidden files are left out.

    Raises:
        UserError: If the folder does not exist, or holds no image, or two with one name.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: a folder of images or masks is expected.")
    images: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        ending = ending_of(file.name)
        if ending is None or file.name.startswith("."):
            continue
        name = file.name[: -len(ending)]
        if name in images:
            raise UserError(f"{folder} holds {images[name].name} and {file.name}: keep one of them.")
        images[name] = file
    if not images:
        raise UserError(f"{folder} holds no image ({', '.join(IMAGE_ENDINGS)}).")
    return images


def ending_of(name: str) -> str | None:
    """Return the image ending of a file's name, in any case of its letters; None if it is no image."""
    return next((ending for ending in IMAGE_ENDINGS if name.lower().endswith(ending)), None)


def _files(folder: Path, name: str, num_channels: int, file_ending: str) -> ImageFiles:
    images = [folder / f"{name}_{channel:04d}{file_ending}" for channel in range(num_channels)]
    missing = [file.name for file in images if not file.is_file()]
    if missing:
        raise UserError(
            f"{folder / name}: {', '.join(missing)} missing. Give a folder of images, FOLDER/case for "
            f"FOLDER/case_0000{file_ending}, or one file of a case."
        )
    return ImageFiles(name, images)
