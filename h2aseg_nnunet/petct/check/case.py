"""One pass over the voxels of a case: each file is read once, and every check that needs voxels runs on it."""

from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from h2aseg_nnunet.petct.check.coarse import coarse_pair
from h2aseg_nnunet.petct.check.dataset_json import Declared
from h2aseg_nnunet.petct.check.field_of_view import check_field_of_view
from h2aseg_nnunet.petct.check.files import Case
from h2aseg_nnunet.petct.check.findings import Finding, has_errors
from h2aseg_nnunet.petct.check.headers import check_headers, not_finite, read_grid, unreadable
from h2aseg_nnunet.petct.check.labels import check_label
from h2aseg_nnunet.petct.check.registration import check_registration
from h2aseg_nnunet.petct.check.values import check_constant, check_ct, check_order, check_pet, is_soft_tissue
from h2aseg_nnunet.petct.images.reading import NotFiniteError, read_image


class CaseResult(NamedTuple):
    """What a case tells about itself, and what is compared between cases.

    Attributes:
        digests: A fingerprint of the voxel values of each image that could be read.
        labels: Label values that occur.
    """

    findings: list[Finding]
    digests: dict[str, str]
    labels: set[int]


def check_case(case: Case, declared: Declared) -> CaseResult:
    """Headers first; voxels of the readable files; what needs CT and PET together only where both are sound."""
    findings = check_headers(case)
    astray = {finding.file for finding in findings if finding.severity == "error"}
    one_grid = astray.isdisjoint(map(str, case.images))
    images = _read(case.images, case.name, findings)
    digests = {str(file): digest(volume) for file, volume in images.items()}
    for file, volume in list(images.items()):
        if constant := check_constant(volume, str(file)):
            findings += constant
            del images[file]
    labels, present = _check_label(case, declared, findings)
    lesion = labels > 0 if labels is not None and str(case.label) not in astray else None
    for ct_file, pet_file in _pairs(case, declared):
        found = _check_channels(images, ct_file, pet_file, one_grid)
        if one_grid and ct_file in images and pet_file in images and not has_errors(found):
            found += _check_together(images[ct_file], images[pet_file], lesion, ct_file, pet_file, case.label)
        findings += found
    unique = dict.fromkeys(finding._replace(case=case.name) for finding in findings)
    return CaseResult(list(unique), digests, present)


def digest(volume: NDArray) -> str:
    """Equal for equal shapes and values, whatever the type they are stored in."""
    values = np.ascontiguousarray(volume, dtype=np.float32)
    return blake2b(values.data, digest_size=16, key=repr(values.shape).encode()).hexdigest()


def _read(files: Iterable[Path], case: str, findings: list[Finding]) -> dict[Path, NDArray]:
    """Volumes, axes (z, y, x), of the files that can be read; adds a finding for each other, unless it has one."""
    volumes = {}
    known = {finding.file for finding in findings if finding.check == "unreadable"}
    for file in files:
        try:
            if str(file) not in known:
                volumes[file] = SimpleITK.GetArrayFromImage(read_image(file))
        except NotFiniteError as error:
            findings.append(not_finite(file, _reason(error, file), case))
        except (ValueError, OSError) as error:
            findings.append(unreadable(file, _reason(error, file), case))
    return volumes


def _reason(error: Exception, file: Path) -> str:
    """The message without the file's name, which the finding gives."""
    return str(error).removeprefix(f"{file} ")


def _check_label(case: Case, declared: Declared, findings: list[Finding]) -> tuple[NDArray | None, set[int]]:
    """The label map if its values are sound, and the values that occur."""
    if case.label is None or not declared.labels:
        return None, set()
    labels = _read([case.label], case.name, findings).get(case.label)
    if labels is None:
        return None, set()
    found, present = check_label(labels, declared.labels, declared.ignore, str(case.label))
    findings += found
    if declared.ignore is not None:
        labels = np.where(labels == declared.ignore, 0, labels)
    return None if has_errors(found) else labels, present


def _pairs(case: Case, declared: Declared) -> list[tuple[Path, Path]]:
    """Each PET with a CT; the last one stands in where there are fewer."""
    cts, pets = ([case.images[channel] for channel in stream] for stream in declared.channels)
    return [(cts[min(i, len(cts) - 1)], pets[min(i, len(pets) - 1)]) for i in range(max(len(cts), len(pets)))]


def _check_channels(images: dict[Path, NDArray], ct_file: Path, pet_file: Path, one_grid: bool) -> list[Finding]:
    """Units and order of the two channels, as far as they could be read."""
    ct, pet = images.get(ct_file), images.get(pet_file)
    if ct is not None and pet is not None and (swapped := check_order(ct, pet, ct_file.name, str(pet_file))):
        return swapped
    findings = [] if ct is None else check_ct(ct, str(ct_file))
    if pet is not None:
        sound = one_grid and not has_errors(findings)
        soft_tissue = is_soft_tissue(ct) if sound and ct is not None else None
        findings += check_pet(pet, soft_tissue, str(pet_file))
    return findings


def _check_together(
    ct: NDArray, pet: NDArray, lesion: NDArray | None, ct_file: Path, pet_file: Path, label_file: Path | None
) -> list[Finding]:
    pair = coarse_pair(ct, pet, lesion, read_grid(ct_file))
    label = str(label_file) if label_file else None
    return [
        *check_field_of_view(pair, str(ct_file), str(pet_file)),
        *check_registration(pair, ct_file.name, str(pet_file), label),
    ]
