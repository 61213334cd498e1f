"""Which cases of a plan are to be converted, and which are finished, whether or not their sources can be reached."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.petct.convert.ledger import Ledger, exists
from h2aseg_nnunet.petct.convert.plan import Case, Plan, is_found
from h2aseg_nnunet.petct.convert.record import Record, fingerprint


@dataclass
class Standing:
    """Where a conversion stands.

    Attributes:
        todo: Cases to convert.
        kept: Finished cases whose source is not as it was, and why they stay.
        refused: Studies that cannot become a case now, with the reason.
    """

    todo: list[Case] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def review(plan: Plan, ledger: Ledger) -> Standing:
    """Compare a plan with what was converted earlier. A source that is missing never invalidates a finished case.

    Raises:
        UserError: If a finished case is no longer in a source that lists its cases one by one.
    """
    standing = Standing()
    finished = ledger.done
    for name in sorted(finished.keys() - {case.name for case in plan.cases}):
        _review_gone(name, plan, ledger, standing)
    for case in plan.cases:
        if case.name in finished:
            _review_finished(case, plan, ledger, standing)
        else:
            standing.todo.append(case)
    standing.refused |= {name: reason for name, reason in plan.refused.items() if name not in finished}
    _forget_refusals(plan, ledger, standing)
    return standing


def _forget_refusals(plan: Plan, ledger: Ledger, standing: Standing) -> None:
    """Refusals of an earlier run hold no longer; what they left in the folder stays on record."""
    left = {name: record for name, record in ledger.records.items() if record.files}
    ledger.records = {name: Record(refused=reason) for name, reason in standing.refused.items()} | left


def unreachable(case: Case, record: Record, plan: Plan) -> str | None:
    """Say which sources of a finished case cannot be reached, now or as it was converted; None if all can.

    A folder whose labels are not there looks like one of test data. A list may name other files than before.
    """
    earlier = [
        Path(source["file"]) for role, source in record.sources.items() if not plan.listed or role not in case.sources
    ]
    missing = sorted({str(file) for file in [*earlier, *case.sources.values()] if not is_found(file)})
    return f"{listing(missing)} cannot be reached." if missing else None


def _review_gone(name: str, plan: Plan, ledger: Ledger, standing: Standing) -> None:
    if plan.listed:
        raise UserError(
            f"{ledger.folder.path} has {name}, which {plan.source} has no more. Put it back, or start anew without it "
            "by --overwrite."
        )
    reason = plan.refused.get(name, f"{plan.source} has it no more.")
    _keep_if_whole(name, reason, ledger, standing)


def _review_finished(case: Case, plan: Plan, ledger: Ledger, standing: Standing) -> None:
    record = ledger.records[case.name] = replace(ledger.records[case.name], patient=case.patient, stratum=case.stratum)
    if reason := unreachable(case, record, plan):
        _keep_if_whole(case.name, reason, ledger, standing)
    elif not _is_current(case, record, ledger):
        standing.todo.append(case)


def _is_current(case: Case, record: Record, ledger: Ledger) -> bool:
    if record.training != case.training or record.sources != fingerprint(case):
        return False
    return all(exists(file) for file in ledger.files(case.name).values())


def _keep_if_whole(name: str, reason: str, ledger: Ledger, standing: Standing) -> None:
    missing = [str(file) for file in ledger.files(name).values() if not exists(file)]
    if not missing:
        standing.kept[name] = reason
        return
    standing.refused[name] = f"the dataset lacks {listing(missing)}, which cannot be made again: {reason}"
    ledger.records[name] = replace(ledger.records[name], refused=standing.refused[name])
