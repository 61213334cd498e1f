"""The images of a case as the network reads them, and the way back from its grid to the images' own."""

from pathlib import Path
from typing import Any, NamedTuple

import SimpleITK

from h2aseg_nnunet.modalities import CT, PET
from h2aseg_nnunet.petct.dicom.inputs import Input
from h2aseg_nnunet.petct.dicom.series import Series
from h2aseg_nnunet.petct.dicom.study import read_study
from h2aseg_nnunet.petct.files import replacing
from h2aseg_nnunet.petct.images.grids import Grid, onto_one_grid, resample
from h2aseg_nnunet.petct.images.reading import read_image

FILE_ENDING = ".nii.gz"
AXIAL = "IS"
"""Last letter of an orientation whose slices are axial."""


class How(NamedTuple):
    """How cases are prepared.

    Attributes:
        grid: "pet" brings CT onto the PET's grid, "ct" PET onto the CT's; a number of mm makes cubes of that size.
        ct_series, pet_series: UIDs that override the choice of series in the study that has them.
        images: Folder for the images that the network reads.
    """

    grid: str
    images: Path
    ct_series: str | None = None
    pet_series: str | None = None


class Prepared(NamedTuple):
    """A case ready for the network.

    Attributes:
        input: What was prepared.
        images: CT and PET on one grid, nnU-Net's channels.
        own_grid: The grid on which the mask is delivered.
        series: The DICOM series of that grid; None for image files.
        record: What was read and assumed, ready for JSON.
        notes: What the user should know, as sentences.
    """

    input: Input
    images: tuple[Path, ...]
    own_grid: Grid
    series: Series | None
    record: dict[str, Any]
    notes: list[str]


def prepare(case: Input, how: How) -> Prepared:
    """Prepare a case as `prepare_images` does, and keep nothing of it in memory."""
    return prepare_images(case, how)[0]


def prepare_images(case: Input, how: How) -> tuple[Prepared, list[SimpleITK.Image]]:
    """Read a case, bring CT and PET onto one axial grid, and write what the network reads.

    nnU-Net's own images are taken as they are, unless their slices are not axial.

    Args:
        case: The case.
        how: How to prepare it.

    Returns:
        The case, and its images as they were written.

    Raises:
        UserError: If the case cannot be used.
    """
    record: dict[str, Any] = {}
    notes: list[str] = []
    series = None
    if case.study is not None:
        ct_uid, pet_uid = (uid if uid in case.study.series else None for uid in (how.ct_series, how.pet_series))
        read = read_study(case.study, case.given, ct_uid, pet_uid)
        ct, pet, record = read.ct_hu, read.pet_suv, read.record
        series = read.pair.ct if how.grid == "ct" else read.pair.pet
        notes += [*read.pair.notes, *record["suv"]["assumptions"]]
    else:
        channels = [read_image(file) for file in case.images]
        ct, pet = channels[:2]
    own = ct if how.grid == "ct" else pet
    own_grid = Grid.of(own)
    if case.on_one_grid and _is_axial(own):
        return Prepared(case, case.images, own_grid, None, record, notes), channels
    if not _is_axial(own):
        notes.append("the slices are not axial: the network reads them turned, the mask is not")
    ct, pet = (image if _is_axial(image) else SimpleITK.DICOMOrient(image, "LPS") for image in (ct, pet))
    if not case.on_one_grid:
        ct, pet = onto_one_grid(ct, pet, how.grid)
    files = tuple(how.images / f"{case.name}_{channel:04d}{FILE_ENDING}" for channel in (CT, PET))
    for file, image in zip(files, (ct, pet), strict=True):
        with replacing(file) as temporary:
            SimpleITK.WriteImage(image, str(temporary), True)
    return Prepared(case, files, own_grid, series, record, notes), [ct, pet]


def onto_own_grid(mask: SimpleITK.Image, own: Grid) -> SimpleITK.Image:
    """Bring a mask from the network's grid onto the images' own: voxel by voxel where both share their voxels."""
    return resample(mask, own, linear=False)


def _is_axial(image: SimpleITK.Image) -> bool:
    return Grid.of(image).axes[2] in AXIAL
