"""Reading a three-dimensional image, or saying in one sentence why it cannot be used. Every command reads here."""

from pathlib import Path

import numpy as np
import SimpleITK

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.cases import IMAGE_ENDINGS, ImageFiles, ending_of
from h2aseg_nnunet.petct.images.containers import require_whole
from h2aseg_nnunet.petct.images.errors import NotFiniteError, PositionError
from h2aseg_nnunet.petct.images.grids import Grid, require_same_grid
from h2aseg_nnunet.petct.images.itk import itk_reason
from h2aseg_nnunet.petct.images.nifti import NIFTI, not_finite_words, read_nifti
from h2aseg_nnunet.petct.images.nifti_position import require_right_angles

__all__ = ["NotFiniteError", "PositionError", "read_case", "read_image"]

FORMATS = {
    ".mha": "MetaImageIO",
    ".mhd": "MetaImageIO",
    ".nrrd": "NrrdImageIO",
    ".nhdr": "NrrdImageIO",
    ".gipl": "GiplImageIO",
}
"""Ending -> ITK's reader. The ending decides: a file of another format under it would pass unchecked."""

POINTERS = {
    b"version https://git-lfs": "git lfs pull",
    b"/annex/objects/": "git annex get",
    b"../.git/annex": "git annex get",
}
"""First bytes of a file that only stands for another one -> the command that fetches it."""


def read_image(file: Path) -> SimpleITK.Image:
    """Read a scalar image with three axes.

    Raises:
        UserError: If the file is missing, a folder, damaged or incomplete, of another format, or the image has other
            axes or several values per voxel.
        PositionError: If the file does not say, without contradiction, where its voxels are.
        NotFiniteError: If a value is not finite.
    """
    ending = _require_image_file(file)
    if ending in NIFTI:
        return read_nifti(file)
    image = _read_by_itk(file, ending)
    try:
        require_right_angles(Grid.of(image))
    except PositionError as error:
        raise PositionError(f"{file} {error}") from error
    not_finite = int(np.count_nonzero(~np.isfinite(SimpleITK.GetArrayViewFromImage(image))))
    if not_finite:
        raise NotFiniteError(f"{file} {not_finite_words(not_finite)}")
    return image


def read_case(case: ImageFiles) -> list[SimpleITK.Image]:
    """Read the images of a case as they lie in the files.

    Raises:
        UserError: If a file cannot be read, or they do not share one grid.
    """
    images = [read_image(file) for file in case.images]
    for file, image in zip(case.images[1:], images[1:], strict=True):
        require_same_grid(file, image, case.images[0], images[0], "Resample it: nnU-Net needs one grid per case.")
    return images


def _require_image_file(file: Path) -> str:
    """The ending of a file that is there and may be an image."""
    if file.is_dir():
        raise UserError(
            f"{file} is a folder, an image file was expected. Convert DICOM series to NIfTI first, PET to SUV."
        )
    if file.is_symlink() and not file.exists():
        raise UserError(
            f"{file} is a link to {file.readlink()}, which does not exist. Fetch it (git annex get), or mount it."
        )
    if not file.exists():
        raise UserError(f"{file} does not exist.")
    ending = ending_of(file.name)
    if ending is None:
        raise UserError(f"{file} is none of {', '.join(IMAGE_ENDINGS)}. Convert it to .nii.gz.")
    try:
        with file.open("rb") as stream:
            start = stream.read(64)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}.") from error
    if not start:
        raise UserError(f"{file} is empty. Copy it again.")
    for beginning, command in POINTERS.items():
        if start.startswith(beginning):
            raise UserError(f"{file} is only a pointer to the image. Fetch it: {command}.")
    return ending


def _read_by_itk(file: Path, ending: str) -> SimpleITK.Image:
    try:
        image = SimpleITK.ReadImage(str(file), imageIO=FORMATS[ending])
    except RuntimeError as error:
        reason = itk_reason(error)
        if reason.startswith("Reason:"):  # the system's last error, which has nothing to do with it
            reason = "it is incomplete or damaged, or its file of voxels is missing"
        raise UserError(f"{file} cannot be read: {reason}. Copy it again, or convert it from its source.") from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise UserError(
            f"{file} is not one image with three axes: size {image.GetSize()}, "
            f"{image.GetNumberOfComponentsPerPixel()} values per voxel."
        )
    require_whole(file, ending, image.GetNumberOfPixels() * image.GetSizeOfPixelComponent())
    return image
