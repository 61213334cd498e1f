"""Cases on the workers of a Dask cluster."""

import time
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from typing import Any

from distributed import Client, Future, KilledWorker, as_completed

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.cluster.attempts import KEPT, Lost, NotVisibleError, Order, carry_out
from h2aseg_nnunet.petct.parallel import Stage

CASES_PER_THREAD = 2
"""Cases that are with the scheduler, for each thread of the workers: one at work and one that waits."""

DEATHS_IN_COMPANY = 2
"""After so many deaths of its workers, a case waits until all others are done: they may have died of a neighbor."""

DEATHS_ALONE = 1
"""Then it is tried once more with nothing beside it."""

LOST = f"its worker died {DEATHS_IN_COMPANY + DEATHS_ALONE} times, most likely for want of memory"
SECONDS_BETWEEN_LOOKS = 2.0
"""Time after which workers that have come or gone are noticed."""


class DaskEngine:
    """Carries out the work of `in_parallel` on a cluster.

    Args:
        client: A client of the scheduler.
        paths: What every worker must see, also one that joins later.
    """

    def __init__(self, client: Client, paths: Sequence[str]):
        self._client = client
        self._paths = tuple(paths)
        self._workers: dict[str, dict[str, Any]] = {}
        self._looked = -SECONDS_BETWEEN_LOOKS

    def run(
        self, stages: Sequence[Stage], items: Iterable[Any], lost: Callable[[Any, str], Any] | None
    ) -> Generator[tuple[Any, Any], None, None]:
        """Yield each item with what the stages make of it; see `in_parallel`.

        Raises:
            UserError: If the scheduler is gone, a worker does not see a path, or a case is lost and there is no `lost`.
        """
        aside = []
        for item, result in self._flow(stages, items, DEATHS_IN_COMPANY):
            if isinstance(result, Lost):
                aside.append(item)
            else:
                yield item, result
        for item in aside:
            for _, result in self._flow(stages, [item], DEATHS_ALONE):
                if isinstance(result, Lost) and lost is None:
                    raise UserError(f"{_name(item)}: {LOST}. Give the workers more memory.")
                yield item, lost(item, LOST) if isinstance(result, Lost) and lost else result

    def _flow(self, stages: Sequence[Stage], items: Iterable[Any], deaths: int) -> Iterator[tuple[Any, Any]]:
        """Keep every worker busy, and no more cases with the scheduler than that takes."""
        run, waiting, finished = uuid.uuid4().hex[:8], {}, as_completed(loop=self._client.loop)
        try:
            for number, item in enumerate(items):
                order = Order(run, f"{_name(item)}-{number}", self._paths, deaths)
                future = self._submit(stages, item, order)
                waiting[future] = item
                finished.add(future)
                while finished.has_ready() or len(waiting) >= self._most():
                    future = next(finished)
                    yield waiting.pop(future), _result(future)
            for future in finished:
                yield waiting.pop(future), _result(future)
        except (CancelledError, OSError) as error:
            if self._client.status == "running" and not isinstance(error, CancelledError):
                raise
            raise UserError(
                "The scheduler is gone. Start it again and repeat the command: finished cases stay."
            ) from error
        except NotVisibleError as error:
            raise UserError(
                f"The worker {error}. All workers must see the same files under the same names: stop this one, or "
                "mount there what is missing, and repeat the command."
            ) from error
        finally:
            finished.clear()
            if self._client.status == "running":
                self._client.cancel(list(waiting))
                self._client.set_metadata([KEPT, run], {})

    def _submit(self, stages: Sequence[Stage], item: Any, order: Order) -> Future:
        """Hand in all steps of a case; a result in between is kept until the next step has it."""
        result = item
        for number, stage in enumerate(stages):
            own = order._replace(name=f"{order.name}-{number}") if len(stages) > 1 else order
            key = f"{_name_of_work(stage.work)}-{own.name}-{own.run}"
            placed = self._place(stage)
            result = self._client.submit(
                carry_out, stage.work, result, own, key=key, pure=False, priority=number, **placed
            )
        return result

    def _place(self, stage: Stage) -> dict[str, Any]:
        """Keep GPUs for what needs them, where some workers have one."""
        self._look()
        without = [address for address, worker in self._workers.items() if not worker["resources"].get("GPU")]
        if len(without) == len(self._workers):
            return {}
        if stage.on_gpu:
            return {"resources": {"GPU": 1}}
        return {"workers": without, "allow_other_workers": True} if without else {}

    def _most(self) -> int:
        self._look()
        return CASES_PER_THREAD * max(1, sum(worker["nthreads"] for worker in self._workers.values()))

    def _look(self) -> None:
        if time.monotonic() - self._looked > SECONDS_BETWEEN_LOOKS:
            self._workers = self._client.scheduler_info(n_workers=-1)["workers"]
            self._looked = time.monotonic()


def _result(future: Future) -> Any:
    try:
        return future.result()
    except KilledWorker as error:  # by a scheduler that is stricter than we are
        return Lost(getattr(error, "allowed_failures", 0))


def _name(item: Any) -> str:
    """The case, as far as an item says so."""
    return str(getattr(item, "name", "case"))


def _name_of_work(work: Any) -> str:
    return str(getattr(getattr(work, "func", work), "__name__", "work")).strip("_")
