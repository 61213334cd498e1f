"""Where tests find what they read."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = REPOSITORY / "tests" / "data"
"""Small files that are part of the repository."""

TEST_DATA = Path(os.environ.get("H2ASEG_TEST_DATA", REPOSITORY.parent / "shared"))
"""Real PET/CT and reference values that are too large for the repository; tests that need it are skipped without it."""
