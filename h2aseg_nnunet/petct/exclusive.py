"""One process at a time in a folder, on one machine or over a network file system."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where nobody checks
    fcntl = None  # type: ignore[assignment]


@contextmanager
def exclusively(file: Path) -> Iterator[None]:
    """Hold `file` while the block runs; the system lets it go when the process ends, however it ends.

    Raises:
        ValueError: If another process holds it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as stream:
        if fcntl is not None:
            try:
                fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not flock: workers would inherit it
            except OSError as error:
                raise ValueError(f"another process works in {file.parent} at the moment: let it end.") from error
        yield
