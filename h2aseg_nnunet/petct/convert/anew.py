"""`--overwrite`: the new dataset is made beside the earlier one, and takes its place when it is whole.

Only files that the earlier record lists, and that are as they were written, are removed.
"""

import os
import shutil

from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.petct.convert.ledger import Ledger, exists, require_nothing_in_the_way
from h2aseg_nnunet.petct.convert.plan import Plan
from h2aseg_nnunet.petct.convert.raw_dataset import RawFolder
from h2aseg_nnunet.petct.convert.record import Record, is_as_written
from h2aseg_nnunet.petct.convert.review import unreachable
from h2aseg_nnunet.petct.convert.staging import blocking_files, remove_tree, swap_in


def require_possible(plan: Plan, earlier: Ledger) -> None:
    """Make sure that a dataset can be made anew before anything is done.

    Raises:
        UserError: If the source of a finished case cannot be reached, or a file was changed since it was written.
    """
    require_nothing_in_the_way(earlier.changed_files())
    planned = {case.name: case for case in plan.cases}
    reasons = {}
    for name in must_stay(plan, earlier):
        if name not in planned:
            reasons[name] = plan.refused.get(name, f"{plan.source} has it no more.")
        elif reason := unreachable(planned[name], earlier.records[name], plan):
            reasons[name] = reason
    _require_none(reasons, earlier)


def require_whole(plan: Plan, earlier: Ledger, new: Ledger, refused: dict[str, str]) -> None:
    """Make sure that the new dataset has every case that the earlier one had.

    Raises:
        UserError: If not: the earlier one stays.
    """
    _require_none({name: refused.get(name, "") for name in must_stay(plan, earlier) if name not in new.done}, earlier)


def must_stay(plan: Plan, earlier: Ledger) -> list[str]:
    """Find finished cases whose files are there and that were not taken out of a list of cases on purpose."""
    listed = {case.name for case in plan.cases} | plan.refused.keys()
    return [
        name
        for name in earlier.done
        if any(map(exists, earlier.files(name).values())) and (name in listed or not plan.listed)
    ]


def begin(folder: RawFolder, settings: dict, plan: Plan) -> Ledger:
    """Go on with a new dataset that an interrupted run began with the same settings, or begin one."""
    begun = Ledger.read(folder)
    planned = {case.name for case in plan.cases}
    if begun is not None and begun.settings == settings and begun.done.keys() <= planned:
        return begun
    remove_tree(folder.path)
    return Ledger(folder, settings)


def finish(raw: RawFolder) -> None:
    """Put a dataset that was made anew, and is whole, into the place of the earlier one; forget one that is not.

    Raises:
        UserError: If a file that is not ours is in the way; then nothing is moved.
    """
    new = Ledger.read(raw.anew) if raw.anew.record.is_file() else None
    if new is not None and new.finished:
        _exchange(raw, new)


def _exchange(raw: RawFolder, new: Ledger) -> None:
    earlier = Ledger.read(raw)
    assert earlier is not None
    names = sorted(earlier.records.keys() | new.done.keys())
    blocking = [file for name in names for file in blocking_files(earlier, name, new.done.get(name, Record()))]
    if exists(raw.dataset_json) and not is_as_written(raw.dataset_json, earlier.dataset_json):
        blocking.append(raw.dataset_json)
    require_nothing_in_the_way(blocking)
    for name, record in new.done.items():
        swap_in(earlier, raw.anew, name, record)
    for name in earlier.records.keys() - new.done.keys():
        for file in earlier.files(name).values():
            file.unlink(missing_ok=True)
    raw.dataset_json.unlink(missing_ok=True)
    for folder in ("imagesTr", "labelsTr", "imagesTs", "labelsTs"):
        if (raw.path / folder).is_dir() and not os.listdir(raw.path / folder):
            (raw.path / folder).rmdir()
    Ledger(raw, new.settings, axes=new.axes, splits_sha256=earlier.splits_sha256, records=new.records).save()
    shutil.rmtree(raw.anew.path)


def _require_none(reasons: dict[str, str], earlier: Ledger) -> None:
    if reasons:
        name, reason = next(iter(reasons.items()))
        raise UserError(
            f"{earlier.folder.path} is left as it is: {listing(list(reasons))} would be lost. {name}: {reason} Restore "
            "the files, or take the case out of the table or the dataset, and repeat the command."
        )
