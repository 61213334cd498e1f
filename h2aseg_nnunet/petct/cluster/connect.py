"""From `--scheduler` to a cluster on which `in_parallel` works."""

import argparse
import contextlib
import uuid
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from h2aseg_nnunet import __version__
from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.petct.files import PARTIAL
from h2aseg_nnunet.petct.parallel import working_on

if TYPE_CHECKING:
    from distributed import Client

SECONDS_TO_CONNECT = 30


@contextlib.contextmanager
def workers_of(
    options: argparse.Namespace, reads: Sequence[str | Path] = (), writes: Sequence[str | Path] = ()
) -> Iterator[None]:
    """Let `in_parallel` work on the cluster of `--scheduler` while the block runs; on this machine if there is none.

    Args:
        options: Options of a command. The paths among them become absolute: workers have other working directories.
        reads: Files and folders that workers read: names of the options, which may be left out, or paths.
        writes: Folders that workers write to, likewise; they need not exist yet.

    Raises:
        UserError: If no scheduler answers, or workers have another version or do not see the same files.
    """
    if options.scheduler is None:
        yield
        return
    read, written = ([path for each in paths if (path := _absolute(options, each))] for paths in (reads, writes))
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(_probe(folder)) for folder in written]
        paths = [str(path) for path in (*read, *probes) if path.exists()]  # the command itself complains of the others
        client = stack.enter_context(_connected(options.scheduler))
        _require_able_workers(client, paths)
        from h2aseg_nnunet.petct.cluster.engine import DaskEngine

        stack.enter_context(working_on(DaskEngine(client, paths)))
        yield


def _absolute(options: argparse.Namespace, path: str | Path) -> Path | None:
    """Return a path, or make that of an option absolute and return it; None if the option is left out."""
    if isinstance(path, Path):
        return path.absolute()
    given = getattr(options, path)
    if not given:
        return None
    setattr(options, path, str(Path(given).absolute()))
    return Path(getattr(options, path))


@contextlib.contextmanager
def _connected(scheduler: str) -> Iterator["Client"]:
    if find_spec("distributed") is None:
        raise UserError("--scheduler needs Dask: pip install 'h2aseg_nnunet[cluster]', or in a clone '.[cluster]'.")
    from distributed import Client

    where: dict[str, Any] = {"address": scheduler}
    if Path(scheduler).is_file():
        where = {"scheduler_file": scheduler}
    elif ":" not in scheduler:
        raise UserError(
            f"--scheduler {scheduler}: an address such as tcp://head:8786, or a scheduler file, is expected."
        )
    try:
        client = Client(**where, timeout=SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(f"--scheduler {scheduler}: no Dask scheduler answers there ({_first_line(error)}).") from error
    with client:
        yield client


@contextlib.contextmanager
def _probe(folder: Path) -> Iterator[Path]:
    """Leave a hidden file where workers will write, for as long as they do: who sees it has the same storage."""
    there = next(each for each in (folder, *folder.parents) if each.is_dir())
    file = there / f"{PARTIAL}probe-{uuid.uuid4().hex[:8]}"
    try:
        file.touch()
    except OSError as error:
        raise UserError(f"{there} cannot be written to: {error.strerror or error}.") from error
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)


def _require_able_workers(client: "Client", paths: list[str]) -> None:
    """Make sure that all workers could work on a case; those that join later are asked before their first one."""
    versions = client.run(version, "h2aseg_nnunet", on_error="return")
    if not versions:
        print("The scheduler has no worker yet: the first case waits for one.")
    try:
        of_scheduler: Any = client.run_on_scheduler(version, "h2aseg_nnunet")
    except ImportError as error:  # PackageNotFoundError is one
        of_scheduler = error
    for who, found in [("scheduler", of_scheduler), *((f"worker {name}", versions[name]) for name in sorted(versions))]:
        if found != __version__:
            there = f"version {found}" if isinstance(found, str) else "no installation"
            raise UserError(f"The {who} has {there} of h2aseg_nnunet, not {__version__}: install the same there.")
    if any(threads > 1 for threads in client.nthreads().values()):
        print("Workers have several threads, of which one works: start more workers, each with --nthreads 1.")
    from h2aseg_nnunet.petct.cluster.attempts import unseen

    missing = {worker: files for worker, files in client.run(unseen, paths).items() if files}
    if missing:
        worker, files = min(missing.items())
        raise UserError(
            f"{len(missing)} of {len(versions)} workers, {worker} for one, do not see {listing(files, 3)}. Workers and "
            "this machine must see the same files under the same names: use storage that they share."
        )


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
