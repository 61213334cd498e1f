from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from tests.locations import DATA

METRICS = DATA / "metrics"
"""Synthetic masks, and what the challenges' own code gives for them."""


@pytest.fixture
def reference_data() -> Path:
    return METRICS


@pytest.fixture
def write() -> Callable[..., Path]:
    return write_image


def write_image(file: Path, array, spacing_mm=(1.0, 1.0, 1.0), origin_mm=(0.0, 0.0, 0.0), direction=None) -> Path:
    """Array in the order z, y, x; spacing, origin and direction in that of the file: x, y, z."""
    file.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.GetImageFromArray(np.asarray(array))
    image.SetSpacing(spacing_mm)
    image.SetOrigin(origin_mm)
    if direction is not None:
        image.SetDirection(direction)
    SimpleITK.WriteImage(image, str(file), True)
    return file
