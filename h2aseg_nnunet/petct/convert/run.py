"""Carrying a plan out: every case in parallel, resumable, then dataset.json, folds and a summary."""

from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from tqdm import tqdm

from h2aseg_nnunet.petct.convert import anew
from h2aseg_nnunet.petct.convert.axes import most_common_axes
from h2aseg_nnunet.petct.convert.case import Task
from h2aseg_nnunet.petct.convert.ledger import Ledger, in_the_way
from h2aseg_nnunet.petct.convert.plan import Case, ConversionOptions, Plan
from h2aseg_nnunet.petct.convert.publish import publish
from h2aseg_nnunet.petct.convert.raw_dataset import RawFolder, raw_folder
from h2aseg_nnunet.petct.convert.record import Record, fingerprint
from h2aseg_nnunet.petct.convert.review import Standing, review
from h2aseg_nnunet.petct.convert.staging import remove_tree, stage_case, staging_of, take
from h2aseg_nnunet.petct.convert.summary import Summary
from h2aseg_nnunet.petct.files import exclusively
from h2aseg_nnunet.petct.parallel import in_parallel

DEFAULT_PROCESSES = 4


def convert_plan(
    plan: Plan,
    dataset_id: int,
    options: ConversionOptions | None = None,
    name: str | None = None,
    num_processes: int = DEFAULT_PROCESSES,
    overwrite: bool = False,
) -> Summary:
    """Write nnUNet_raw/DatasetXXX_name, or go on where an earlier run of the same conversion ended.

    A case that cannot be used is refused and the others go on; cases refused earlier are tried again. A finished case
    stays until a new version of it is whole. dataset.json and splits_final.json appear when all cases are through.

    Args:
        plan: What to convert.
        dataset_id: Number of the dataset.
        options: How to convert.
        name: Name of the dataset, after its number; None for the plan's.
        num_processes: Number of cases that are converted at the same time.
        overwrite: Whether to make the dataset anew where an earlier conversion lies, and put it into its place when it
            is whole.

    Raises:
        UserError: If the folder belongs to something else or another process works in it, writing fails, or a process
            is killed; with `overwrite`, if a case would be lost.
    """
    conversion = _Conversion(plan, options or ConversionOptions(), num_processes)
    raw = raw_folder(dataset_id, name or plan.name)
    raw.output.require_own()  # before a lock is written there
    with exclusively(raw.lock):
        if raw.record.is_file():
            anew.finish(raw)
        earlier = Ledger.read(raw)
        if earlier is not None and overwrite:
            return conversion.start_anew(earlier)
        ledger = earlier or Ledger(raw, conversion.settings)
        ledger.require_settings(conversion.settings)
        remove_tree(raw.anew.path)
        return conversion.go_on(ledger)


@dataclass(frozen=True)
class _Conversion:
    plan: Plan
    options: ConversionOptions
    num_processes: int

    @property
    def settings(self) -> dict[str, Any]:
        """What must be the same for a conversion to go on."""
        plan = self.plan
        settings = {"layout": plan.layout, "source": str(plan.source), "labels": plan.labels} | plan.details
        settings |= asdict(self.options)
        if not self.options.reorient:
            del settings["reorient"]  # which earlier versions did not record
        return {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}

    def go_on(self, ledger: Ledger) -> Summary:
        """Convert what is not finished."""
        return self._publish(ledger, self._convert_cases(ledger))

    def start_anew(self, earlier: Ledger) -> Summary:
        """Convert everything beside an earlier dataset, then put it into its place."""
        raw = earlier.folder
        anew.require_possible(self.plan, earlier)
        new = anew.begin(raw.anew, self.settings, self.plan)
        standing = self._convert_cases(new)
        anew.require_whole(self.plan, earlier, new, standing.refused)
        new.finished = True
        new.save()
        anew.finish(raw)
        ledger = Ledger.read(raw)
        assert ledger is not None
        return self._publish(ledger, standing)

    def _convert_cases(self, ledger: Ledger) -> Standing:
        ledger.finished = False
        if self.options.reorient and ledger.axes is None:
            ledger.axes = most_common_axes(self.plan)
        with staging_of(ledger) as staging:  # which claims the folder
            standing = review(self.plan, ledger)
            total, todo = len(self.plan.cases), standing.todo
            bar = tqdm(total=total, initial=total - len(todo), desc="Converting", unit="case")
            work = partial(stage_case, task=self._task(ledger, staging))
            with bar, closing(in_parallel(work, todo, self.num_processes, lost=_lost)) as finished:
                for case, record in finished:
                    blocking = [] if record.refused else take(ledger, case.name, record)
                    if reason := record.refused or (blocking and in_the_way(blocking)):
                        standing.refused[case.name] = _refuse(ledger, case, reason)
                    bar.update()
        return standing

    def _task(self, ledger: Ledger, staging: RawFolder) -> Task:
        plan = self.plan
        return Task(plan.declared, plan.one_grid, self.options, ledger.axes, staging)

    def _publish(self, ledger: Ledger, standing: Standing) -> Summary:
        notes = [*self.plan.notes, *publish(self.plan, ledger, self.options)]
        ledger.finished = True
        ledger.save()
        return Summary(ledger.folder, dict(sorted(ledger.records.items())), standing.refused, standing.kept, notes)


def _lost(case: Case, why: str) -> Record:
    return Record(case.patient, case.training, case.stratum, refused=f"{why}.", sources=fingerprint(case))


def _refuse(ledger: Ledger, case: Case, reason: str) -> str:
    """Record a refusal, unless an earlier version of the case is there, which stays; returns the whole reason."""
    earlier = ledger.records.get(case.name)
    if earlier is not None and earlier.files:
        return reason if earlier.refused else f"{reason} The version converted earlier stays."
    ledger.records[case.name] = Record(case.patient, case.training, case.stratum, reason, fingerprint(case))
    ledger.save_now_and_then()
    return reason
