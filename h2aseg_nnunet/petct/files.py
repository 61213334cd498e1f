"""Writing files so that none ever exists half-written."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Yield a temporary name beside `file` that becomes `file` on success and is removed otherwise."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}")  # keeps the ending, from which writers choose the format
    try:
        yield temporary
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(file: Path, content: Any) -> None:
    """Write JSON; NaN becomes null."""
    with replacing(file) as temporary:
        text = json.dumps(_without_nan(content), indent=2, allow_nan=False, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def _without_nan(value: Any) -> Any:
    """NaN as None: JSON has no NaN, and strict readers refuse it."""
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
