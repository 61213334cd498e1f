"""One case of a conversion: read, check, bring onto one grid, write. Runs in a worker process."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.convert.lesions import Lesions, compare_lesions
from h2aseg_nnunet.petct.convert.plan import Case, ConversionOptions, is_found
from h2aseg_nnunet.petct.convert.raw_dataset import FILE_ENDING, RawFolder
from h2aseg_nnunet.petct.convert.record import Record, fingerprint, mark_of
from h2aseg_nnunet.petct.files import replacing
from h2aseg_nnunet.petct.images.grids import Grid, bring_onto, crop_to_covered, require_same_grid
from h2aseg_nnunet.petct.images.itk import header_grid
from h2aseg_nnunet.petct.images.masks import read_mask
from h2aseg_nnunet.petct.images.reading import read_image
from h2aseg_nnunet.petct.labels import Declared

Images = dict[str, SimpleITK.Image]
"""CT, PET and label by their role."""


@dataclass(frozen=True)
class Task:
    """What all cases of a conversion have in common.

    Attributes:
        declared: The values that label maps may hold.
        one_grid: Whether CT, PET and label on different grids are refused.
        options: How to convert.
        axes: The axes to which cases are turned; None leaves them as they are.
        folder: Where to write.
    """

    declared: Declared
    one_grid: bool
    options: ConversionOptions
    axes: str | None
    folder: RawFolder


class _Placed(NamedTuple):
    """An image on its case's grid, and how it came there, in the words of `Record.files`."""

    image: SimpleITK.Image
    action: str


def convert_case(case: Case, task: Task) -> Record:
    """Write one case, or say why it is refused; then none of its files is written.

    Raises:
        UserError: If writing fails, which concerns every case and not this one alone.
    """
    sources = fingerprint(case)
    try:
        delivered = _read(case, task)
        images = {role: _turned(image, task.axes) for role, image in delivered.items()}
        grid = _common_grid(case, images, task.options)
        placed = {role: _placed(role, case.sources[role], delivered[role], images[role], grid) for role in images}
        lesions = _lesions(images, placed, task)
    except UserError as error:
        return Record(case.patient, case.training, case.stratum, refused=str(error), sources=sources)
    targets = task.folder.files(case.name, case.training)
    files = {
        role: _write_or_copy(case.sources[role], image, targets[role], task.options.link)
        for role, image in placed.items()
    }
    return Record(
        case.patient,
        case.training,
        case.stratum,
        sources=sources,
        files=files,
        written={role: mark_of(targets[role]) for role in files},
        size=list(grid.size),
        spacing_mm=[round(spacing, 6) for spacing in grid.spacing_mm],
        axes=grid.axes,
        lesion_ml=lesions.ml,
        lesions=lesions.counts,
        warnings=lesions.warnings,
    )


def _read(case: Case, task: Task) -> Images:
    """Read the images as they were delivered.

    Raises:
        UserError: If one cannot be used, or they are not what they are said to be.
    """
    _require_different_files(case)
    images = {"ct": read_image(case.ct), "pet": read_image(case.pet)}
    if case.label:
        images["label"] = SimpleITK.Cast(read_mask(case.label, task.declared), SimpleITK.sitkUInt8)
    _require_different_voxels(case, images)
    if task.one_grid:
        for role, image in images.items():
            remedy = "In this collection CT, PET and label share one grid: get the study anew."
            require_same_grid(case.sources[role], image, case.ct, images["ct"], remedy)
    return images


def _require_different_files(case: Case) -> None:
    seen: dict[tuple[int, int], str] = {}
    for role, file in case.sources.items():
        if is_found(file):
            status = file.stat()
            other = seen.setdefault((status.st_dev, status.st_ino), role)
            if other != role:
                raise UserError(f"{file} is given as {other} and as {role}: name the file of each.")


def _require_different_voxels(case: Case, images: Images) -> None:
    ct, pet = (SimpleITK.GetArrayViewFromImage(images[role]) for role in ("ct", "pet"))
    if np.array_equal(ct, pet):
        raise UserError(f"{case.ct} and {case.pet} hold the same values: one is a copy of the other.")


def _turned(image: SimpleITK.Image, axes: str | None) -> SimpleITK.Image:
    """Exchange and flip axes, without interpolation; the image itself where they are right already."""
    return image if axes in (None, Grid.of(image).axes) else SimpleITK.DICOMOrient(image, axes)


def _common_grid(case: Case, images: Images, options: ConversionOptions) -> Grid:
    grid = Grid.of(images["ct"])
    if options.spacing_mm is not None:
        grid = grid.respaced(options.spacing_mm)
    return crop_to_covered(grid, images["pet"], case.box_mm)


def _lesions(images: Images, placed: Mapping[str, _Placed], task: Task) -> Lesions:
    if "label" not in images:
        return Lesions({}, {}, [])
    return compare_lesions(images["label"], placed["label"].image, task.declared.labels.classes)


def _placed(role: str, file: Path, delivered: SimpleITK.Image, turned: SimpleITK.Image, grid: Grid) -> _Placed:
    image, action = bring_onto(turned, grid, linear=role != "label")
    if action != "unchanged":
        return _Placed(image, action)
    if turned is not delivered:
        return _Placed(image, "reoriented")
    verbatim = file.name.endswith(FILE_ENDING) and header_grid(file).has_header_of(grid)  # as nnU-Net will read it
    return _Placed(image, "copied" if verbatim else "rewritten")


def _write_or_copy(source: Path, placed: _Placed, target: Path, link: bool) -> str:
    """Write an image, or copy or link its file where it needs no change; returns what was done."""
    if placed.action != "copied":
        _write(placed.image, target)
        return placed.action
    _copy(source, target, link)
    return "linked" if link else "copied"


def _copy(source: Path, target: Path, link: bool) -> None:
    with replacing(target) as temporary:
        if link:
            os.symlink(source.resolve(), temporary)
        else:
            shutil.copyfile(source, temporary)


def _write(image: SimpleITK.Image, target: Path) -> None:
    with replacing(target) as temporary:
        SimpleITK.WriteImage(image, str(temporary), True)
        try:
            read_image(temporary)  # ITK does not notice a full disk
        except UserError as error:
            raise UserError(f"{target} could not be written completely; is the disk full? {error}") from error
