"""One case on a worker: whether the worker can do it, and how many workers have died of it."""

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import SimpleITK

from h2aseg_nnunet.errors import listing
from h2aseg_nnunet.petct.files import writer

COUNTS = "h2aseg"
"""Under this name the scheduler keeps the counts."""


class Order(NamedTuple):
    """What a worker is told beside the case.

    Attributes:
        run: The command that the case belongs to.
        name: The case and the step, unique within the command.
        paths: What the worker must see.
        deaths: After this many workers have died of it, the case is not begun again.
    """

    run: str
    name: str
    paths: tuple[str, ...]
    deaths: int


class Lost(NamedTuple):
    """The result of a case that is not begun again."""

    deaths: int


class NotVisibleError(Exception):
    """A worker does not see what it needs; the message says who and what."""


def carry_out(work: Callable[[Any], Any], item: Any, order: Order) -> Any:
    """Do a step of a case, on a worker.

    Workers that die in the middle are counted by the scheduler, not by those that died.

    Raises:
        NotVisibleError: If the worker does not see a path.
    """
    if isinstance(item, Lost):  # by the step before
        return item
    require_visible(order.paths)
    with _counted(order) as died:
        if died >= order.deaths:
            return Lost(died)
        token = writer.set(uuid.uuid4().hex[:16])
        try:
            return work(item)
        finally:
            writer.reset(token)


@contextmanager
def _counted(order: Order) -> Iterator[int]:
    """Count a worker as dead while it is at work; yield how many have not come back from the case."""
    from distributed import get_client

    client, keys = get_client(), [COUNTS, order.run, order.name]
    died = client.get_metadata(keys, 0)
    if died < order.deaths:
        client.set_metadata(keys, died + 1)
    try:
        yield died
    finally:
        client.set_metadata(keys, 0)


@cache
def require_visible(paths: tuple[str, ...]) -> None:
    """Make sure that this worker sees the command's paths, once for all cases of a command.

    Raises:
        NotVisibleError: If not.
    """
    from distributed import get_worker

    worker = get_worker()
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(worker.state.nthreads)  # other workers have their own
    missing = unseen(paths)
    if missing:
        raise NotVisibleError(f"{worker.address} does not see {listing(missing, 3)}")


def unseen(paths: Sequence[str]) -> list[str]:
    """Return the paths that do not exist here, or are folders that cannot be read."""
    return [path for path in paths if not os.access(Path(path), os.R_OK)]
