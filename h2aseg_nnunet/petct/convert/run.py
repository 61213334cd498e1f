"""Carrying a plan out: every case in parallel, resumable, then dataset.json, folds and a summary."""

from collections import Counter
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from tqdm import tqdm

from h2aseg_nnunet.errors import listing
from h2aseg_nnunet.petct.convert import anew
from h2aseg_nnunet.petct.convert.axes import most_common_axes, note_on_axes
from h2aseg_nnunet.petct.convert.case import Task
from h2aseg_nnunet.petct.convert.ledger import Ledger, in_the_way
from h2aseg_nnunet.petct.convert.plan import Case, Options, Plan
from h2aseg_nnunet.petct.convert.raw_dataset import RawFolder, describe, publish_splits, raw_folder
from h2aseg_nnunet.petct.convert.record import Record, fingerprint, is_as_written, mark_of
from h2aseg_nnunet.petct.convert.review import review
from h2aseg_nnunet.petct.convert.splits import Study, choose_folds
from h2aseg_nnunet.petct.convert.staging import remove_tree, stage_case, staging_of, take
from h2aseg_nnunet.petct.files import exclusively, write_json
from h2aseg_nnunet.petct.nnunet.dataset_json import read_dataset_json
from h2aseg_nnunet.petct.parallel import in_parallel

DEFAULT_PROCESSES = 4


@dataclass(frozen=True)
class Summary:
    """What a conversion did, for the screen.

    Attributes:
        raw: The dataset.
        records: What became of each case, now or earlier.
        refused: Cases that could not be converted now, and why.
        kept: Finished cases that stay although their sources are not as they were, and why.
        notes: Sentences on the dataset as a whole.
    """

    raw: RawFolder
    records: dict[str, Record]
    refused: dict[str, str]
    kept: dict[str, str]
    notes: list[str]

    def lines(self) -> list[str]:
        """Cases refused, kept or with a warning are named, the others counted; conversion.json has them all."""
        done = {name: record for name, record in self.records.items() if not record.refused}
        actions = Counter(action for record in done.values() for action in record.files.values())
        test = sum(not record.training for record in done.values())
        lines = [f"{self.raw.path}: {len(done) - test} training and {test} test cases"]
        lines.append("  files: " + (", ".join(f"{n} {action}" for action, n in sorted(actions.items())) or "none"))
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  {name}: {text}" for name, record in done.items() for text in record.warnings]
        if self.kept:
            name, reason = next(iter(self.kept.items()))
            lines.append(f"  WARNING: kept as converted earlier: {listing(list(self.kept))}. {name}: {reason}")
        lines += [f"  {name} REFUSED: {reason}" for name, reason in self.refused.items()]
        return [*lines, f"  every case: {self.raw.record}"]


def convert(
    plan: Plan,
    dataset_id: int,
    options: Options | None = None,
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
    options = options or Options()
    raw = raw_folder(dataset_id, name or plan.name)
    settings = _settings(plan, options)
    raw.output.require_own()  # before a lock is written there
    with exclusively(raw.lock):
        if raw.record.is_file():
            anew.finish(raw)
        earlier = Ledger.read(raw)
        if earlier is not None and overwrite:
            return _start_anew(plan, raw, earlier, settings, options, num_processes)
        ledger = earlier or Ledger(raw, settings)
        ledger.require_settings(settings)
        remove_tree(raw.anew.path)
        refused, kept = _convert_cases(plan, ledger, options, num_processes)
        return _publish(plan, ledger, options, refused, kept)


def _start_anew(
    plan: Plan, raw: RawFolder, earlier: Ledger, settings: dict[str, Any], options: Options, num_processes: int
) -> Summary:
    anew.require_possible(plan, earlier)
    new = anew.begin(raw.anew, settings, plan)
    refused, kept = _convert_cases(plan, new, options, num_processes)
    anew.require_whole(plan, earlier, new, refused)
    new.finished = True
    new.save()
    anew.finish(raw)
    ledger = Ledger.read(raw)
    assert ledger is not None
    return _publish(plan, ledger, options, refused, kept)


def _settings(plan: Plan, options: Options) -> dict[str, Any]:
    settings = {"layout": plan.layout, "source": str(plan.source), "labels": plan.labels} | plan.details
    settings |= asdict(options)
    if not options.reorient:
        del settings["reorient"]  # which earlier versions did not record
    return {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}


def _convert_cases(
    plan: Plan, ledger: Ledger, options: Options, num_processes: int
) -> tuple[dict[str, str], dict[str, str]]:
    """Convert what is to be converted; returns cases refused and cases kept, with the reasons."""
    ledger.finished = False
    if options.reorient and ledger.axes is None:
        ledger.axes = most_common_axes(plan)
    ledger.save()  # claims the folder
    with staging_of(ledger) as staging:
        standing = review(plan, ledger)
        task = Task(len(plan.labels), plan.lesion_values, plan.one_grid, options, ledger.axes, staging)
        bar = tqdm(total=len(plan.cases), initial=len(plan.cases) - len(standing.todo), desc="Converting", unit="case")
        work = partial(stage_case, task=task)
        with bar, closing(in_parallel(work, standing.todo, num_processes)) as finished:
            for case, record in finished:
                blocking = [] if record.refused else take(ledger, case.name, record)
                if reason := record.refused or (blocking and in_the_way(blocking)):
                    standing.refused[case.name] = _refuse(ledger, case, reason)
                bar.update()
    ledger.save()
    return standing.refused, standing.kept


def _refuse(ledger: Ledger, case: Case, reason: str) -> str:
    """Record a refusal, unless an earlier version of the case is there, which stays; returns the whole reason."""
    earlier = ledger.records.get(case.name)
    if earlier is not None and earlier.files:
        return reason if earlier.refused else f"{reason} The version converted earlier stays."
    ledger.records[case.name] = Record(case.patient, case.training, case.stratum, reason, fingerprint(case))
    ledger.save()
    return reason


def _publish(plan: Plan, ledger: Ledger, options: Options, refused: dict[str, str], kept: dict[str, str]) -> Summary:
    """Write dataset.json and the folds."""
    notes = list(plan.notes)
    if ledger.done:
        studies = {
            name: Study(record.patient, f"{record.stratum} {record.has_lesion}")
            for name, record in ledger.done.items()
            if record.training
        }
        _write_dataset_json(describe(plan, options, ledger.settings, len(studies)), ledger)
        folds, more = choose_folds(studies, plan.folds)
        ledger.splits_sha256, others = publish_splits(folds, ledger.folder, ledger.splits_sha256)
        notes += [*more, *others, *note_on_axes(sorted(ledger.done.items())), *_note_on_others(ledger)]
    else:
        notes.append("no case could be converted, so there is no dataset.json")
    ledger.finished = True
    ledger.save()
    return Summary(ledger.folder, dict(sorted(ledger.records.items())), dict(sorted(refused.items())), kept, notes)


def _write_dataset_json(description: dict[str, Any], ledger: Ledger) -> None:
    """Write dataset.json, but keep what a user has changed in it, for instance a channel's name."""
    file, ours = ledger.folder.dataset_json, True
    if file.is_file():
        ours = is_as_written(file, ledger.dataset_json)
        description |= read_dataset_json(file) | {"numTraining": description["numTraining"]}
    write_json(file, description)
    ledger.dataset_json = mark_of(file) if ours else None


def _note_on_others(ledger: Ledger) -> list[str]:
    others = [str(file.relative_to(ledger.folder.path)) for file in ledger.other_files()]
    return [f"left as they are, since h2aseg convert did not write them: {listing(others)}"] if others else []
