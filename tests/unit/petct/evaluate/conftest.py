from collections.abc import Callable
from pathlib import Path

import pytest

from tests.locations import DATA
from tests.synthetic import write_image

METRICS = DATA / "metrics"
"""Synthetic masks, and what the challenges' own code gives for them."""


@pytest.fixture
def reference_data() -> Path:
    return METRICS


@pytest.fixture
def write() -> Callable[..., Path]:
    return write_image
