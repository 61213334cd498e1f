"""One row per lesion: volume, uptake, position and probability."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from h2aseg_nnunet.petct.images.lesions import label_components, lesions
from h2aseg_nnunet.petct.images.peak import suv_peak
from h2aseg_nnunet.petct.tables import write_csv

COLUMNS = (
    "lesion", "volume_ml", "suv_max", "suv_mean", "suv_peak", "tlg", "x_mm", "y_mm", "z_mm", "mean_probability",
)  # fmt: skip


def measure_lesions(mask: SimpleITK.Image, suv: NDArray, probability: NDArray | None) -> list[dict[str, Any]]:
    """Measure every lesion of a mask, the largest first.

    Args:
        mask: Every value but 0 is lesion.
        suv: PET in SUV on the mask's grid, (z, y, x).
        probability: Tumor probability on the mask's grid, or None.

    Returns:
        A value for each of `COLUMNS`; positions are centroids in the patient's coordinates (LPS).
    """
    array = SimpleITK.GetArrayViewFromImage(mask)
    spacing_mm = mask.GetSpacing()[::-1]
    labels, _ = label_components(array)
    rows: list[dict[str, Any]] = []
    for lesion in sorted(lesions(array, spacing_mm, suv=suv), key=lambda lesion: -lesion.volume_ml):
        inside = labels[lesion.bounding_box] == lesion.label
        whole = np.zeros(labels.shape, bool)
        whole[lesion.bounding_box] = inside
        position = mask.TransformContinuousIndexToPhysicalPoint([float(i) for i in lesion.centroid[::-1]])
        rows.append(
            dict(
                zip(
                    COLUMNS,
                    (
                        len(rows) + 1,
                        lesion.volume_ml,
                        lesion.suv_max,
                        lesion.suv_mean,
                        suv_peak(suv, whole, spacing_mm),
                        lesion.tlg,
                        *position,
                        float(probability[lesion.bounding_box][inside].mean()) if probability is not None else None,
                    ),
                    strict=True,
                )
            )
        )
    return rows


def write_lesions(rows: Sequence[dict[str, Any]], file: Path) -> None:
    """Write the table; numbers have six digits."""
    write_csv(file, COLUMNS, [[_short(row[column]) for column in COLUMNS] for row in rows])


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
