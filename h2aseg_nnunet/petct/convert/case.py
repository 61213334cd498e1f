"""One case of a conversion: read, check, bring onto one grid, write. Runs in a worker process."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.convert.plan import Case, Options
from h2aseg_nnunet.petct.convert.raw_dataset import FILE_ENDING, RawFolder
from h2aseg_nnunet.petct.files import replacing
from h2aseg_nnunet.petct.images.grids import Grid, bring_onto, crop_to_covered, ones_on, require_same_grid, resample
from h2aseg_nnunet.petct.images.reading import check_nifti, read_image, read_labels

ML_PER_MM3 = 1e-3


@dataclass(frozen=True)
class Record:
    """What became of a case.

    Attributes:
        refused: The reason, or None if the case was converted.
        sources: `fingerprint` of the case, which tells whether its files are still the same.
        files: What was done for the CT, PET and label: linked, copied, rewritten (same voxels, other header or
            format), cropped (same voxels) or resampled.
        size, spacing_mm: Of the converted case.
        lesion_ml: Volume of each label in the source and in the converted case.
    """

    patient: str = ""
    training: bool = False
    refused: str | None = None
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    size: list[int] = field(default_factory=list)
    spacing_mm: list[float] = field(default_factory=list)
    lesion_ml: dict[str, dict[str, float]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def has_lesion(self) -> bool:
        return any(volume["converted"] > 0 for volume in self.lesion_ml.values())

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value not in (None, [], {})}


def fingerprint(case: Case) -> dict[str, dict[str, Any]]:
    """Name, size and time of change of each source file that exists."""
    status = {role: (file, file.stat()) for role, file in case.sources.items() if file.exists()}
    return {
        role: {"file": str(file), "bytes": s.st_size, "modified_ns": s.st_mtime_ns}
        for role, (file, s) in status.items()
    }


def convert_case(case: Case, labels: Sequence[str], one_grid: bool, options: Options, raw: RawFolder) -> Record:
    """Write one case, or say why it is refused; then none of its files exists.

    Args:
        case: What to convert.
        labels: Names of label 1, 2, ...
        one_grid: Refuse CT, PET and label on different grids.
        options: Of the conversion.
        raw: The dataset.

    Raises:
        OSError, RuntimeError: If writing fails, which concerns every case and not this one alone.
    """
    raw.remove_case(case.name)
    sources = fingerprint(case)
    try:
        images = _read(case, len(labels))
        if one_grid:
            _require_one_grid(case, images)
        grid = _common_grid(case, images, options)
        placed = {role: bring_onto(image, grid, linear=role != "label") for role, image in images.items()}
        lesion_ml, warnings = _lesions(images["label"], placed["label"][0], labels) if case.label else ({}, [])
    except ValueError as error:
        return Record(case.patient, case.training, refused=str(error), sources=sources)
    targets = raw.files(case.name, case.training)
    files = {}
    for role, (image, action) in placed.items():
        source = case.sources[role]
        verbatim = action == "unchanged" and _is_usable_as_it_is(source, images[role], grid)
        if verbatim:
            _copy(source, targets[role], options.link)
            files[role] = "linked" if options.link else "copied"
        else:
            _write(image, targets[role])
            files[role] = "rewritten" if action == "unchanged" else action
    return Record(
        case.patient,
        case.training,
        sources=sources,
        files=files,
        size=list(grid.size),
        spacing_mm=[round(spacing, 6) for spacing in grid.spacing_mm],
        lesion_ml=lesion_ml,
        warnings=warnings,
    )


def _read(case: Case, num_labels: int) -> dict[str, SimpleITK.Image]:
    images = {"ct": read_image(case.ct), "pet": read_image(case.pet)}
    if case.label:
        images["label"] = read_labels(case.label, num_labels)
    return images


def _require_one_grid(case: Case, images: dict[str, SimpleITK.Image]) -> None:
    for role, image in images.items():
        require_same_grid(
            case.sources[role], image, case.ct, images["ct"], "In this collection it is: get the file anew."
        )


def _common_grid(case: Case, images: dict[str, SimpleITK.Image], options: Options) -> Grid:
    grid = Grid.of(images["ct"])
    if options.spacing_mm is not None:
        grid = grid.respaced(options.spacing_mm)
    return crop_to_covered(grid, images["pet"], case.box_mm)


def _lesions(source: SimpleITK.Image, label: SimpleITK.Image, labels: Sequence[str]) -> tuple[dict, list[str]]:
    """Volumes before and after, and what has been lost.

    Raises:
        UserError: If the source has lesions and all lie outside the converted region.
    """
    before, after = _voxel_counts(source, len(labels)), _voxel_counts(label, len(labels))
    outside, total = _voxels_outside(source, Grid.of(label)), before.sum()
    before_ml, after_ml = before * _voxel_ml(source), after * _voxel_ml(label)
    if outside and outside == total:
        raise UserError(f"All {before_ml.sum():.2f} ml of the label lie outside the region converted.")
    warnings = []
    if outside:
        share = f"{outside * _voxel_ml(source):.2f} of {before_ml.sum():.2f} ml of the label"
        warnings.append(f"{share} lie outside the region converted")
    rows = list(zip(labels, before_ml.tolist(), after_ml.tolist(), strict=True))
    warnings += [f"{old:.2f} ml of {name} are lost on the new grid" for name, old, new in rows if old and not new]
    return {name: {"source": round(old, 4), "converted": round(new, 4)} for name, old, new in rows}, warnings


def _voxel_ml(image: SimpleITK.Image) -> float:
    return float(np.prod(image.GetSpacing())) * ML_PER_MM3


def _voxel_counts(label: SimpleITK.Image, num_labels: int) -> np.ndarray:
    return np.bincount(SimpleITK.GetArrayViewFromImage(label).ravel(), minlength=num_labels + 1)[1:]


def _voxels_outside(label: SimpleITK.Image, region: Grid) -> int:
    """Foreground voxels of `label` whose centers lie outside `region`."""
    if region.start_of(Grid.of(label)) is not None:
        return 0
    inside = resample(ones_on(region), Grid.of(label), linear=False)
    foreground = SimpleITK.GetArrayViewFromImage(label) > 0
    return int(np.count_nonzero(foreground & (SimpleITK.GetArrayViewFromImage(inside) == 0)))


def _is_usable_as_it_is(file: Path, image: SimpleITK.Image, grid: Grid) -> bool:
    return file.name.endswith(FILE_ENDING) and Grid.of(image).has_header_of(grid)


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
            check_nifti(temporary)  # ITK does not notice a full disk
        except ValueError as error:
            raise UserError(f"{target} could not be written completely; is the disk full? {error}") from error
