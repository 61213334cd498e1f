"""One case on a worker: whether the worker can do it, and how many workers have died of it."""

import os
import pickle
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import SimpleITK

from h2aseg_nnunet.errors import listing
from h2aseg_nnunet.petct.files import writer

KEPT = "h2aseg"
"""Under this name the scheduler keeps what workers tell it."""


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

    The scheduler keeps what outlives a worker: how many have begun the step and not come back, or its result, so that a
    step is not done again when its worker dies before the result was fetched.

    Raises:
        NotVisibleError: If the worker does not see a path.
    """
    if isinstance(item, Lost):  # by the step before
        return item
    require_visible(order.paths)
    from distributed import get_client

    client, keys = get_client(), [KEPT, order.run, order.name]
    kept = client.get_metadata(keys, 0)
    if isinstance(kept, bytes):
        return pickle.loads(kept)
    if kept >= order.deaths:
        return Lost(kept)
    client.set_metadata(keys, kept + 1)
    try:
        with _marked_files():
            result = work(item)
    except BaseException:
        client.set_metadata(keys, 0)
        raise
    client.set_metadata(keys, pickle.dumps(result))
    return result


@contextmanager
def _marked_files() -> Iterator[None]:
    """Write files under names that no other worker uses: one that was given up may still write the same case."""
    token = writer.set(uuid.uuid4().hex[:16])
    try:
        yield
    finally:
        writer.reset(token)


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
