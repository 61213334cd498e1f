"""One pass over the voxels of a case: each file is read once, and every check of a case runs on it."""

from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.check.clipping import LesionUptake, lesion_uptake
from h2aseg_nnunet.petct.check.coarse import axial_axis, coarse_pair
from h2aseg_nnunet.petct.check.conversion import check_conversion
from h2aseg_nnunet.petct.check.field_of_view import check_field_of_view
from h2aseg_nnunet.petct.check.files import Case
from h2aseg_nnunet.petct.check.findings import Finding, has_errors
from h2aseg_nnunet.petct.check.headers import check_headers
from h2aseg_nnunet.petct.check.labels import check_label
from h2aseg_nnunet.petct.check.registration import check_registration
from h2aseg_nnunet.petct.check.values import check_constant, check_ct, check_order, check_pet, is_soft_tissue
from h2aseg_nnunet.petct.images.grids import Grid
from h2aseg_nnunet.petct.images.reading import NotFiniteError, PositionError, read_image
from h2aseg_nnunet.petct.nnunet.dataset_json import Dataset


class CaseResult(NamedTuple):
    """What a case tells about itself, and what is compared between cases.

    Attributes:
        findings: What is wrong or suspicious.
        digests: A fingerprint of the voxel values of each image that could be read.
        labels: Label values that occur.
        axes: Where the axes of the first image run to, such as LPS; empty if it could not be read.
        lesion_uptake: Uptake of its lesions by PET channel.
    """

    findings: list[Finding]
    digests: dict[str, str]
    labels: set[int]
    axes: str
    lesion_uptake: Mapping[int, LesionUptake] = {}


class Volume(NamedTuple):
    """An image in memory: its grid, and its voxels (z, y, x)."""

    grid: Grid
    voxels: NDArray


def check_case(
    case: Case, dataset: Dataset, in_memory: Callable[[Path], SimpleITK.Image | None] = lambda file: None
) -> CaseResult:
    """Check headers first, then voxels; what needs CT and PET together only where both are sound.

    Args:
        case: The case.
        dataset: Its dataset.
        in_memory: Gives a file's image where it has been read already; every other file is read.
    """
    volumes, findings = _read(case, in_memory)
    findings += check_headers({file: volume.grid for file, volume in volumes.items()}, case.name)
    astray = {finding.file for finding in findings if finding.severity == "error"}
    images = {file: volumes[file] for file in case.images if file in volumes}
    digests = {str(file): digest(volume.voxels) for file, volume in images.items()}
    axes = next(iter(images.values())).grid.axes if images else ""
    for file, volume in list(images.items()):
        if constant := check_constant(volume.voxels, str(file)):
            findings += constant
            del images[file]
    labels, present = _check_label(case, dataset, volumes, findings)
    lesion = labels > 0 if labels is not None and str(case.label) not in astray else None
    one_grid = astray.isdisjoint(map(str, case.images))
    for ct_file, pet_file in _pairs(case, dataset):
        found = _check_channels(images, ct_file, pet_file, one_grid)
        if one_grid and ct_file in images and pet_file in images and not has_errors(found):
            found += _check_together(images, lesion, ct_file, pet_file, case.label)
        findings += found
    unique = dict.fromkeys(finding._replace(case=case.name) for finding in findings)
    pets = {channel: case.images[channel] for channel in dataset.channels.pet}
    uptakes = _uptakes({channel: images[file].voxels for channel, file in pets.items() if file in images}, lesion)
    return CaseResult(list(unique), digests, present, axes, uptakes)


def _uptakes(pets: Mapping[int, NDArray], lesion: NDArray | None) -> dict[int, LesionUptake]:
    """Uptake of the lesions in each PET channel that is on their grid."""
    measured = {
        channel: lesion_uptake(pet, lesion)
        for channel, pet in pets.items()
        if lesion is not None and pet.shape == lesion.shape
    }
    return {channel: uptake for channel, uptake in measured.items() if uptake is not None}


def digest(voxels: NDArray) -> str:
    """Equal for equal shapes and values, whatever the type they are stored in."""
    values = np.ascontiguousarray(voxels, dtype=np.float32)
    return blake2b(values.data, digest_size=16, key=repr(values.shape).encode()).hexdigest()


def _read(case: Case, in_memory: Callable[[Path], SimpleITK.Image | None]) -> tuple[dict[Path, Volume], list[Finding]]:
    """The files that can be read, and a finding for each other."""
    volumes, findings = {}, []
    for file in case.files:
        try:
            image = in_memory(file) or read_image(file)
        except UserError as error:
            findings.append(_refused(error, file))
        else:
            volumes[file] = Volume(Grid.of(image), SimpleITK.GetArrayFromImage(image))
    return volumes, findings


def _refused(error: UserError, file: Path) -> Finding:
    """The reader's reason, of which the last sentences are the remedy."""
    reason = str(error).removeprefix(f"{file} ")
    found, _, remedy = reason.partition(". ")
    if isinstance(error, NotFiniteError):
        remedy = "In PET 0 and in CT -1024 stand for nothing measured; better convert the image again."
        return Finding("error", "not-finite", str(file), found, "a number in every voxel", remedy)
    if isinstance(error, PositionError):
        return Finding("error", "position", str(file), found, "one position of upright axes in mm", remedy)
    remedy = remedy or "Copy the file again, or convert it again from its source."
    return Finding("error", "unreadable", str(file), found.rstrip("."), "a whole image with three axes", remedy)


def _check_label(
    case: Case, dataset: Dataset, volumes: Mapping[Path, Volume], findings: list[Finding]
) -> tuple[NDArray | None, set[int]]:
    """The label map if its values are sound, and the values that occur."""
    if case.label is None or case.label not in volumes or dataset.labels is None:
        return None, set()
    labels, ignore = volumes[case.label].voxels, dataset.labels.ignore
    found, present = check_label(labels, dataset.labels, str(case.label))
    findings += found
    if ignore is not None:
        labels = np.where(labels == ignore, 0, labels)
    return None if has_errors(found) else labels, present


def _pairs(case: Case, dataset: Dataset) -> list[tuple[Path, Path]]:
    """Each PET with a CT; the last one stands in where there are fewer."""
    cts, pets = ([case.images[channel] for channel in stream] for stream in dataset.channels)
    return [(cts[min(i, len(cts) - 1)], pets[min(i, len(pets) - 1)]) for i in range(max(len(cts), len(pets)))]


def _check_channels(images: Mapping[Path, Volume], ct_file: Path, pet_file: Path, one_grid: bool) -> list[Finding]:
    """Units and order of the two channels, as far as they could be read."""
    ct, pet = (images[file].voxels if file in images else None for file in (ct_file, pet_file))
    if ct is not None and pet is not None and (swapped := check_order(ct, pet, ct_file.name, str(pet_file))):
        return swapped
    findings = [] if ct is None else check_ct(ct, str(ct_file))
    if pet is not None:
        sound = one_grid and not has_errors(findings)
        soft_tissue = is_soft_tissue(ct) if sound and ct is not None else None
        conversion = check_conversion(pet, soft_tissue, axial_axis(images[pet_file].grid), str(pet_file))
        findings += conversion if has_errors(conversion) else conversion + check_pet(pet, soft_tissue, str(pet_file))
    return findings


def _check_together(
    images: Mapping[Path, Volume], lesion: NDArray | None, ct_file: Path, pet_file: Path, label_file: Path | None
) -> list[Finding]:
    ct, pet = images[ct_file], images[pet_file]
    pair = coarse_pair(ct.voxels, pet.voxels, lesion, ct.grid)
    label = str(label_file) if label_file else None
    return [
        *check_field_of_view(pair, str(ct_file), str(pet_file)),
        *check_registration(pair, ct_file.name, str(pet_file), label),
    ]
