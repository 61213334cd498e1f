"""Cases in parallel: in processes of this machine, which end when the main process does, or wherever an engine runs."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol, TypeVar

import SimpleITK

from h2aseg_nnunet.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

QUEUED = 2
"""Items that wait for a process: large ones, such as the logits of a whole body, must not pile up."""


class Stage(NamedTuple):
    """A step of the work on a case, which may be carried out by another worker than the step before.

    Attributes:
        work: A function of a module, of what the step before returned.
        on_gpu: Whether it belongs on a worker with a GPU, where there is one.
    """

    work: Callable[[Any], Any]
    on_gpu: bool = False


class Engine(Protocol):
    """Where work is carried out instead of in processes of this machine."""

    def run(
        self, stages: Sequence[Stage], items: Iterable[Any], lost: Callable[[Any, str], Any] | None
    ) -> Generator[tuple[Any, Any], None, None]:
        """Yield each item with what the stages make of it; see `in_parallel`."""


_engine: ContextVar[Engine | None] = ContextVar("engine", default=None)


@contextmanager
def working_on(engine: Engine) -> Iterator[None]:
    """Let `in_parallel` work on an engine while the block runs."""
    token = _engine.set(engine)
    try:
        yield
    finally:
        _engine.reset(token)


def chosen_engine() -> Engine | None:
    """Return where work is carried out; None for processes of this machine."""
    return _engine.get()


def in_parallel(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    num_processes: int,
    lost: Callable[[Item, str], Result] | None = None,
) -> Generator[tuple[Item, Result], None, None]:
    """Yield each item with what `work` makes of it, as it is finished.

    Items are taken in this process, and only when a process will soon be free: a generator may compute them. If the
    caller stops early, is interrupted or an item fails, the processes end at once.

    Args:
        work: A function of a module, since other processes must find it.
        items: What to work on.
        num_processes: Maximum number of processes; 1 or less stays in this process.
        lost: Makes the result of an item whose worker died again and again, from the item and a sentence that says so;
            None where the others are worth nothing without it.

    Yields:
        Item and result; with several processes in the order in which they are finished.

    Raises:
        UserError: If a process is killed; on an engine, if workers are and there is no `lost`.
    """
    engine = chosen_engine()
    if engine is not None:
        yield from engine.run([Stage(work)], items, lost)
        return
    if num_processes <= 1:
        yield from ((item, work(item)) for item in items)
        return
    context = multiprocessing.get_context("spawn")  # ITK's threads do not survive a fork
    others = multiprocessing.active_children()
    with ProcessPoolExecutor(num_processes, context, _start_worker, (num_processes,)) as pool:
        waiting: dict[Future[Result], Item] = {}
        try:
            for item in items:
                with _ctrl_c_ignored():  # workers start here and inherit it: Ctrl-C is the main process's alone
                    waiting[pool.submit(work, item)] = item
                yield from _finished(waiting, block=len(waiting) >= num_processes + QUEUED)
            while waiting:
                yield from _finished(waiting)
        except BrokenProcessPool as error:
            raise UserError(
                "A process was killed, most likely for want of memory. Run the same command again "
                "with fewer processes (-np)."
            ) from error
        except BaseException:  # Ctrl-C, a full disk: no item is worth waiting for
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in set(multiprocessing.active_children()).difference(others):
                worker.terminate()
            raise


def _finished(waiting: dict[Future[Result], Item], block: bool = True) -> Iterator[tuple[Item, Result]]:
    """Take what is finished off the list and yield it; wait until there is something if `block`."""
    done, _ = wait(waiting, timeout=None if block else 0, return_when=FIRST_COMPLETED)
    for future in done:
        yield waiting.pop(future), future.result()


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # where Python does not let it be changed
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _start_worker(num_processes: int) -> None:
    """Share the cores, and end with the main process."""
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(max(1, (os.cpu_count() or 1) // num_processes))
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed main process cannot stop its workers, which would write beside those of the next run."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
