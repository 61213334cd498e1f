"""What a conversion does to lesions: how many there are, and how large, before and after."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.images.grids import Grid, bring_onto, ones_on, resample, with_grid
from h2aseg_nnunet.petct.images.lesions import label_components, voxel_volume_ml


class Lesions(NamedTuple):
    """The lesions of a case, by the name of their label.

    Attributes:
        ml: Volume in the `source` and in the `converted` case.
        counts: Number of lesions in the `source` and in the `converted` case, and of those of the source that are
            `lost`: not one voxel of the converted case lies in them.
        warnings: What has been lost or has changed.
    """

    ml: dict[str, dict[str, float]]
    counts: dict[str, dict[str, int]]
    warnings: list[str]


class _Change(NamedTuple):
    name: str
    source_ml: float
    converted_ml: float
    source: int
    converted: int
    lost: int
    lost_ml: float

    def warning(self) -> str | None:
        before = f"{self.source} ({self.source_ml:.2f} ml) before, {self.converted} ({self.converted_ml:.2f} ml) after"
        if self.lost:
            return (
                f"{self.lost_ml:.2f} ml of {self.name} are lost on the new grid: {self.lost} of {self.source} lesions "
                f"have no voxel left; lesions {before}"
            )
        if self.source != self.converted:
            return f"lesions of {self.name} join or break on the new grid: {before}"
        return None


def compare_lesions(source: SimpleITK.Image, converted: SimpleITK.Image, values: Mapping[str, int]) -> Lesions:
    """Count and measure the lesions of each label before and after.

    Args:
        source: Label map as delivered.
        converted: The same on its new grid, by nearest neighbor.
        values: Name and value of each label that is a lesion's.

    Raises:
        UserError: If the source has lesions and all lie outside the converted region.
    """
    outside = _outside(source, converted, list(values.values()))
    changes = [_compare(name, value, source, converted) for name, value in values.items()]
    warnings = [*outside, *(warning for change in changes if (warning := change.warning()))]
    return Lesions(
        {c.name: {"source": round(c.source_ml, 4), "converted": round(c.converted_ml, 4)} for c in changes},
        {c.name: {"source": c.source, "converted": c.converted, "lost": c.lost} for c in changes},
        warnings,
    )


def _compare(name: str, value: int, source: SimpleITK.Image, converted: SimpleITK.Image) -> _Change:
    before, after = _array(source) == value, _array(converted) == value
    components, count = label_components(before)
    _, converted_count = label_components(after)
    volumes_ml = np.bincount(components.ravel(), minlength=count + 1) * _voxel_ml(source)
    lost = _lost(components, count, source, converted)
    return _Change(
        name,
        source_ml=float(volumes_ml[1:].sum()),
        converted_ml=float(np.count_nonzero(after) * _voxel_ml(converted)),
        source=count,
        converted=converted_count,
        lost=len(lost),
        lost_ml=float(volumes_ml[lost].sum()),
    )


def _lost(components: NDArray, count: int, source: SimpleITK.Image, converted: SimpleITK.Image) -> list[int]:
    """Numbers of the components in which no voxel of the converted grid lies: a class as a whole would hide them."""
    numbered = with_grid(SimpleITK.GetImageFromArray(components.astype(np.uint32)), Grid.of(source))
    placed, _ = bring_onto(numbered, Grid.of(converted), linear=False)
    return sorted(set(range(1, count + 1)) - set(np.unique(_array(placed)).tolist()))


def _outside(source: SimpleITK.Image, converted: SimpleITK.Image, values: list[int]) -> list[str]:
    """Say what of the label lies outside the converted region.

    Raises:
        UserError: If all of it does.
    """
    foreground = np.isin(_array(source), values)
    outside, total = _voxels_outside(foreground, Grid.of(source), Grid.of(converted)), np.count_nonzero(foreground)
    if not outside:
        return []
    total_ml = total * _voxel_ml(source)
    if outside == total:
        raise UserError(f"All {total_ml:.2f} ml of the label lie outside the region converted.")
    return [f"{outside * _voxel_ml(source):.2f} of {total_ml:.2f} ml of the label lie outside the region converted"]


def _voxels_outside(foreground: NDArray[np.bool_], grid: Grid, region: Grid) -> int:
    """Voxels of the foreground whose centers lie outside `region`."""
    if region.start_of(grid) is not None:
        return 0
    inside = resample(ones_on(region), grid, linear=False)
    return int(np.count_nonzero(foreground & (_array(inside) == 0)))


def _array(image: SimpleITK.Image) -> NDArray:
    return SimpleITK.GetArrayViewFromImage(image)


def _voxel_ml(image: SimpleITK.Image) -> float:
    return voxel_volume_ml(image.GetSpacing())
