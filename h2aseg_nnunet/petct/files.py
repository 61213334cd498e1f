"""Files and folders of the tools: never half-written, never somebody else's, one process at a time."""

import json
import math
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from glob import escape
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from h2aseg_nnunet.errors import UserError

PARTIAL = ".h2aseg-partial-"
"""What the names of files begin with while they are written: hidden, and nobody else's."""

writer: ContextVar[str] = ContextVar("writer", default="")
"""Sixteen digits in the names of files while they are written; on a cluster, where a worker that was given up may still
write the same file on another machine."""

WRITER = "H2ASEG_WRITER"
"""Variable with such digits for a job's process and those that it starts."""


@contextmanager
def marking_files() -> Iterator[None]:
    """Write files, in this process and those it starts meanwhile, under names that no other job uses."""
    os.environ[WRITER] = uuid.uuid4().hex[:16]
    try:
        yield
    finally:
        del os.environ[WRITER]


def mark_of_writer() -> str:
    """Return the digits in the names of files while they are written; empty where only one command writes them."""
    return writer.get() or os.environ.get(WRITER, "")


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Yield a temporary name beside `file` that becomes `file` on success and is removed otherwise.

    Raises:
        UserError: If the system refuses to write there, for instance because the disk is full.
    """
    mark = (digits := mark_of_writer()) and f"{digits}-"
    temporary = file.with_name(f"{PARTIAL}{mark}{file.name}")  # keeps the ending, from which writers choose the format
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, file)
        if mark:
            _remove_leftovers(file)
    except OSError as error:
        if error.filename not in (None, str(temporary), str(file.parent)):
            raise  # of another file, which the block reads
        raise UserError(f"{file} cannot be written: {error.strerror or error}.") from error
    finally:
        if temporary.exists() or temporary.is_symlink():
            temporary.unlink()


def _remove_leftovers(file: Path) -> None:
    """Remove what killed workers of a cluster have left of a file."""
    for leftover in file.parent.glob(f"{PARTIAL}{'[0-9a-f]' * 16}-{escape(file.name)}"):
        leftover.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """Write UTF-8."""
    with replacing(file) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(file: Path, content: Any) -> None:
    """Write JSON; NaN becomes null."""
    write_text(file, as_json(content))


def as_json(content: Any) -> str:
    """Return indented JSON, in which NaN is null, with a newline at its end."""
    return json.dumps(_without_nan(content), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def read_json(file: Path) -> Any:
    """Read JSON.

    Raises:
        UserError: If the file is missing or not JSON.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise UserError(f"{file} is not valid JSON: {error}. Correct it, or write it again.") from error


def read_own_json(file: Path) -> dict[str, Any] | None:
    """Read a JSON object that one of our commands wrote; None if there is none, or somebody else wrote the file."""
    try:
        with file.open("rb") as stream:
            if stream.read(1) != b"{":  # nor is a large image read as text
                return None
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def require_own(file: Path, is_own: Callable[[Path], bool], kind: str) -> None:
    """Make sure, before anything is computed, that writing `file` would replace nothing but an earlier output.

    Args:
        file: The output to be written.
        is_own: Tells whether an existing file was written by the same command.
        kind: What the command writes, with its article, for the message: "an evaluation".

    Raises:
        UserError: If `file` exists and is something else.
    """
    if os.path.lexists(file) and not (file.is_file() and is_own(file)):  # a dangling link is somebody's as well
        raise UserError(f"{file} exists and is not {kind}: it is left as it is. Choose another name.")


class OutputFolder(NamedTuple):
    """A folder that holds nothing but one command's output, known by a file of settings in it.

    Attributes:
        path: The folder.
        mark: Name of the file of settings.
        kind: What the folder holds, with its article, for messages: "a report".
        keys: Keys that tell the file of settings from somebody else's file of the same name.
        remedy: What to do where the folder holds something else, or settings differ.
    """

    path: Path
    mark: str
    kind: str
    keys: tuple[str, ...] = ()
    remedy: str = "choose another folder"

    def settings(self) -> dict[str, Any] | None:
        """Return the settings of the earlier run that made the folder; None if none did."""
        content = read_own_json(self.path / self.mark)
        return content if content is not None and content.keys() >= set(self.keys) else None

    def require_own(self) -> dict[str, Any] | None:
        """Return the settings of an earlier run, or None for a new folder or one without any file but hidden ones.

        Raises:
            UserError: If the folder holds something else.
        """
        earlier = self.settings()
        there = os.path.lexists(self.path)
        if earlier is None and there and (not self.path.is_dir() or _has_visible(self.path)):
            raise UserError(f"{self.path} exists and is not {self.kind}: {self.remedy}.")
        return earlier

    def claim(self, settings: Mapping[str, Any]) -> None:
        """Mark the folder with the settings, or make sure that an earlier run had the same.

        Raises:
            UserError: If the folder holds something else, or the settings differ; the message names them.
        """
        earlier = self.require_own()
        if earlier is None:
            write_json(self.path / self.mark, dict(settings))
            return
        self.require_settings(earlier, settings)

    def require_settings(self, earlier: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        """Make sure that an earlier run had the same settings.

        Raises:
            UserError: If not; the message names those that differ.
        """
        now = json.loads(as_json(dict(settings)))
        changed = [f"{key} {earlier.get(key)!r}, now {now.get(key)!r}" for key in now if earlier.get(key) != now[key]]
        if changed:
            raise UserError(f"{self.path} holds {self.kind} with other settings ({'; '.join(changed)}): {self.remedy}.")


@contextmanager
def exclusively(file: Path) -> Iterator[None]:
    """Hold `file` as a lock while the block runs; the system lets it go when the process ends, however it ends.

    Raises:
        UserError: If another process holds it, or its folder cannot be written to.
    """
    lock = FileLock(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(f"another process works in {file.parent} at the moment: let it end.") from error
    except OSError as error:
        raise UserError(f"{file.parent} cannot be written to: {error.strerror or error}.") from error
    try:
        yield
    finally:
        lock.release()


def _has_visible(folder: Path) -> bool:
    return any(not file.name.startswith(".") for file in folder.iterdir())


def _without_nan(value: Any) -> Any:
    """Replace NaN by None: JSON has no NaN, and strict readers refuse it."""
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
