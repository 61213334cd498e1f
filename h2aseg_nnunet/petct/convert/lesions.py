"""What a conversion does to lesions: how many there are, and how large, before and after."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.images.grids import Grid, bring_onto, ones_on, resample, same_grid, with_grid
from h2aseg_nnunet.petct.images.lesions import label_components, voxel_volume_ml

Values = tuple[int, ...]


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


class _Components(NamedTuple):
    """Lesions numbered from 1 on, in the box around them: most of a body has none."""

    numbers: NDArray[np.uint32]
    total: int
    box: Grid


def compare_lesions(source: SimpleITK.Image, converted: SimpleITK.Image, classes: Mapping[str, Values]) -> Lesions:
    """Count and measure the lesions of each label before and after.

    Args:
        source: Label map as delivered.
        converted: The same on its new grid, by nearest neighbor.
        classes: Name and values of each label that is a lesion's.

    Raises:
        UserError: If the source has lesions and all lie outside the converted region.
    """
    outside = _outside(source, converted, [value for values in classes.values() for value in values])
    changes = [_compare(name, values, source, converted) for name, values in classes.items()]
    warnings = [*outside, *(warning for change in changes if (warning := change.warning()))]
    return Lesions(
        {c.name: {"source": round(c.source_ml, 4), "converted": round(c.converted_ml, 4)} for c in changes},
        {c.name: {"source": c.source, "converted": c.converted, "lost": c.lost} for c in changes},
        warnings,
    )


def _compare(name: str, values: Values, source: SimpleITK.Image, converted: SimpleITK.Image) -> _Change:
    before = _components(source, values)
    unchanged = same_grid(Grid.of(source), Grid.of(converted))
    after = before if unchanged else _components(converted, values)
    lost = [] if unchanged else _lost(before, Grid.of(converted))
    sizes = np.bincount(before.numbers[before.numbers > 0], minlength=before.total + 1)
    return _Change(
        name,
        source_ml=float(sizes.sum() * _voxel_ml(source)),
        converted_ml=float(np.count_nonzero(after.numbers) * _voxel_ml(converted)),
        source=before.total,
        converted=after.total,
        lost=len(lost),
        lost_ml=float(sizes[lost].sum() * _voxel_ml(source)),
    )


def _components(image: SimpleITK.Image, values: Values) -> _Components:
    mask = np.isin(_array(image), values)
    spans = [np.flatnonzero(mask.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    if not spans[0].size:
        return _Components(np.zeros((0, 0, 0), np.uint32), 0, Grid.of(image))
    start, stop = [int(span[0]) for span in spans], [int(span[-1]) + 1 for span in spans]
    numbers, count = label_components(mask[tuple(map(slice, start, stop))])
    (z, y, x), (depth, height, width) = start, numbers.shape
    box = Grid.of(image).crop((x, y, z), (width, height, depth))
    return _Components(numbers.astype(np.uint32, copy=False), count, box)


def _lost(before: _Components, grid: Grid) -> list[int]:
    """Numbers of the components in which no voxel of the grid lies: a class as a whole would hide them."""
    if not before.total:
        return []
    placed, _ = bring_onto(with_grid(SimpleITK.GetImageFromArray(before.numbers), before.box), grid, linear=False)
    return sorted(set(range(1, before.total + 1)) - set(np.unique(_array(placed)).tolist()))


def _outside(source: SimpleITK.Image, converted: SimpleITK.Image, values: list[int]) -> list[str]:
    """Say what of the label lies outside the converted region.

    Raises:
        UserError: If all of it does.
    """
    grid, region = Grid.of(source), Grid.of(converted)
    if region.start_of(grid) is not None:
        return []
    inside = resample(ones_on(region), grid, linear=False)
    foreground = np.isin(_array(source), values)
    outside, total = np.count_nonzero(foreground & (_array(inside) == 0)), np.count_nonzero(foreground)
    if not outside:
        return []
    outside_ml, total_ml = (count * _voxel_ml(source) for count in (outside, total))
    if outside == total:
        raise UserError(f"All {total_ml:.2f} ml of the label lie outside the region converted.")
    return [f"{outside_ml:.2f} of {total_ml:.2f} ml of the label lie outside the region converted"]


def _array(image: SimpleITK.Image) -> NDArray:
    return SimpleITK.GetArrayViewFromImage(image)


def _voxel_ml(image: SimpleITK.Image) -> float:
    return voxel_volume_ml(image.GetSpacing())
