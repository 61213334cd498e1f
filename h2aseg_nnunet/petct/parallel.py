"""Cases in parallel processes, which end when the main process does."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

import SimpleITK

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(
    work: Callable[[Item], Result], items: Sequence[Item], num_processes: int
) -> Generator[tuple[Item, Result], None, None]:
    """Yield each item with what `work` makes of it, as it is finished.

    Args:
        work: A function of a module, since other processes must find it.
        items: What to work on.
        num_processes: At most so many at a time; 1 stays in this process.

    Raises:
        RuntimeError: If a process is killed.
    """
    num_processes = min(num_processes, len(items))
    if num_processes <= 1:
        yield from ((item, work(item)) for item in items)
        return
    context = multiprocessing.get_context("spawn")  # ITK's threads do not survive a fork
    others = multiprocessing.active_children()
    with ProcessPoolExecutor(num_processes, context, _start_worker, (num_processes,)) as pool:
        with _ctrl_c_ignored():  # workers start here and inherit it: Ctrl-C is the main process's alone
            waiting = {pool.submit(work, item): item for item in items}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BrokenProcessPool as error:
            raise RuntimeError(
                "A process was killed, most likely for want of memory. Run the same command again "
                "with fewer processes (-np)."
            ) from error
        except BaseException:  # Ctrl-C, a full disk: no item is worth waiting for
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in set(multiprocessing.active_children()).difference(others):
                worker.terminate()
            raise


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
