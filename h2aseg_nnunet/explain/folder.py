"""A folder per case that is complete or not there."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from h2aseg_nnunet.errors import UserError

RECORD = "explanation.json"
"""Written in every case's folder: by it a folder is known as ours."""


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside `folder` that takes its place on success and is removed otherwise.

    Raises:
        UserError: If `folder` holds something else than an explanation.
    """
    if folder.exists() and not is_explained(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and is no explanation: choose another output folder.")
    temporary = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)  # of a killed run
    temporary.mkdir(parents=True)
    try:
        yield temporary
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_explained(folder: Path) -> bool:
    return (folder / RECORD).is_file()
