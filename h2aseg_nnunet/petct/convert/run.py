"""Carrying a plan out: every case in parallel, resumable, then dataset.json, folds and a summary."""

from collections import Counter
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from tqdm import tqdm

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.convert.case import Record, convert_case, fingerprint
from h2aseg_nnunet.petct.convert.plan import Case, Options, Plan
from h2aseg_nnunet.petct.convert.raw_dataset import (
    RawFolder,
    claim,
    describe,
    publish_splits,
    raw_folder,
)
from h2aseg_nnunet.petct.convert.splits import Study, choose_folds
from h2aseg_nnunet.petct.files import read_json, write_json
from h2aseg_nnunet.petct.parallel import in_parallel

DEFAULT_PROCESSES = 4


@dataclass(frozen=True)
class Summary:
    """What a conversion did: one record per case, and sentences for the user."""

    raw: RawFolder
    records: dict[str, Record]
    notes: list[str]

    @property
    def refused(self) -> dict[str, str]:
        return {name: record.refused for name, record in self.records.items() if record.refused}

    def lines(self) -> list[str]:
        """For the screen: cases refused or with a warning by name, the others counted; conversion.json has them all."""
        done = [record for record in self.records.values() if not record.refused]
        actions = Counter(action for record in done for action in record.files.values())
        test = sum(not record.training for record in done)
        lines = [f"{self.raw.path}: {len(done) - test} training and {test} test cases"]
        lines.append("  files: " + (", ".join(f"{n} {action}" for action, n in sorted(actions.items())) or "none"))
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  {name}: {text}" for name, record in self.records.items() for text in record.warnings]
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

    A case that cannot be used is refused and the others go on; cases refused earlier are tried again. dataset.json
    and splits_final.json appear when all cases are through.

    Raises:
        UserError: If the folder belongs to something else, or an already converted case left the source.
        RuntimeError: If a worker process is killed.
        OSError: If writing fails.
    """
    options = options or Options()
    raw = raw_folder(dataset_id, name or plan.name)
    settings = _settings(plan, options)
    earlier = claim(raw, settings, overwrite)
    state = {"finished": False, "settings": settings, "splits_sha256": earlier.get("splits_sha256")}
    records = _still_valid(plan, raw, {case: Record(**record) for case, record in earlier["cases"].items()})
    _save(raw, state, records)  # claims the folder
    todo = [case for case in plan.cases if case.name not in records]
    bar = tqdm(total=len(plan.cases), initial=len(plan.cases) - len(todo), desc="Converting", unit="case")
    work = partial(convert_case, labels=plan.labels, one_grid=plan.one_grid, options=options, raw=raw)
    with bar, closing(in_parallel(work, todo, num_processes)) as finished:
        for case, record in finished:
            records[case.name] = record
            _save(raw, state, records)
            bar.update()
    records |= {case: Record(refused=reason) for case, reason in plan.refused.items()}
    state["splits_sha256"], notes = _publish(plan, options, raw, state, records)
    _save(raw, state | {"finished": True}, records)
    return Summary(raw, dict(sorted(records.items())), [*plan.notes, *notes])


def _settings(plan: Plan, options: Options) -> dict[str, Any]:
    settings = {"layout": plan.layout, "source": str(plan.source), "labels": plan.labels} | plan.details
    settings |= asdict(options)
    return {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}


def _still_valid(plan: Plan, raw: RawFolder, earlier: dict[str, Record]) -> dict[str, Record]:
    """The records of cases that need not be converted again."""
    cases = {case.name: case for case in plan.cases}
    done = {name: record for name, record in earlier.items() if not record.refused}
    if gone := sorted(set(done) - set(cases)):
        raise UserError(f"{raw.path} has {gone[0]}, which {plan.source} has no more. Start anew with --overwrite.")
    return {name: record for name, record in done.items() if _is_current(cases[name], record, raw)}


def _is_current(case: Case, record: Record, raw: RawFolder) -> bool:
    files = raw.files(case.name, case.training)
    return (
        record.training == case.training
        and record.sources == fingerprint(case)
        and all(files[role].is_file() for role in case.sources)
    )


def _save(raw: RawFolder, state: dict[str, Any], records: dict[str, Record]) -> None:
    cases = {name: records[name].as_json() for name in sorted(records)}
    write_json(raw.record, state | {"cases": cases})


def _publish(
    plan: Plan, options: Options, raw: RawFolder, state: dict[str, Any], records: dict[str, Record]
) -> tuple[str | None, list[str]]:
    """Write dataset.json and the folds; returns the folds' checksum and notes."""
    done = [case for case in plan.cases if not records[case.name].refused]
    if not done:
        return state["splits_sha256"], ["no case could be converted, so there is no dataset.json"]
    studies = {
        case.name: Study(case.patient, f"{case.stratum} {records[case.name].has_lesion}")
        for case in done
        if case.training
    }
    description = describe(plan, options, state["settings"], len(studies))
    if raw.dataset_json.is_file():  # keeps what a user has changed, for instance a channel's name
        description |= read_json(raw.dataset_json) | {"numTraining": len(studies)}
    write_json(raw.dataset_json, description)
    folds, notes = choose_folds(studies, plan.folds)
    checksum, more_notes = publish_splits(folds, raw, state["splits_sha256"])
    return checksum, notes + more_notes
