"""What a fit is shown as on the screen."""

from h2aseg_nnunet.petct.tables import number, to_markdown, with_interval
from h2aseg_nnunet.petct.tune.crossvalidation import Change
from h2aseg_nnunet.petct.tune.run import Tuned
from h2aseg_nnunet.petct.tune.select import Judged

HEADING = ("family", "gain on left-out patients", "helped", "harmed", "lesions lost", "rule fitted to all")
MEASURES = (
    ("dice", "Dice", ".4f"),
    ("false_positive_volume_ml", "FPV (ml)", ".2f"),
    ("false_negative_volume_ml", "FNV (ml)", ".2f"),
    ("f1", "F1 of lesions", ".4f"),
)


def to_text(tuned: Tuned) -> str:
    """Show the families, what the choice among them is worth, and the rule."""
    selection, chosen = tuned.selection, tuned.selection.chosen
    rows = [_row(judged) for judged in sorted(selection.families, key=lambda judged: -judged.gain.mean)]
    lines = [
        f"{tuned.num_cases} cases of {tuned.num_patients} patients, fold {', '.join(tuned.model['folds'])} of "
        f"{tuned.model['name']}; metric {tuned.metric}",
        *tuned.remarks,
        "",
        to_markdown(HEADING, rows),
        "",
        "Fitted as a whole, choice of the family included, on patients that were left out:",
        f"  gain {_signed(chosen.gain, '.4f')}, {chosen.gain.larger} patients helped, {chosen.gain.smaller} harmed",
        *(f"  {name} {_signed(chosen.changes[key], digits)}" for key, name, digits in MEASURES),
        f"  lesions lost: {_lost(chosen)}; patients without lesions called empty "
        f"that were not before: {chosen.emptied:.1f}",
        "",
        _verdict(tuned),
    ]
    return "\n".join(lines)


def _verdict(tuned: Tuned) -> str:
    selection = tuned.selection
    if not selection.rule.changes_nothing:
        certain = "" if selection.chosen.is_certain else " (asked for, although the interval of its gain includes 0)"
        return f"Rule: {selection.rule.describe()}{certain}{_warning(selection.chosen)}"
    if selection.family is None:
        return "No rule: none gains anything on patients it was not fitted on."
    best = f"{selection.family}: {selection.chosen.rule.describe()}"
    return f"No rule: the interval of the gain includes 0. (The candidate was {best}; --even-if-uncertain takes it.)"


def _warning(judged: Judged) -> str:
    if judged.lost_lesions < 1:
        return ""
    instead = "--metric lesion-f1 weighs lesions, not volumes."
    return f"\nIt loses {_lost(judged)} lesions that the model had found. {instead}"


def _lost(judged: Judged) -> str:
    return f"{judged.lost_lesions:.1f} of {judged.found_lesions}"


def _row(judged: Judged) -> list[str]:
    counts = [str(judged.gain.larger), str(judged.gain.smaller)]
    return [judged.name, _signed(judged.gain, ".4f"), *counts, _lost(judged), judged.rule.describe()]


def _signed(change: Change, digits: str) -> str:
    if number(change.mean, digits) == "-":
        return "-"
    return with_interval(change._asdict(), digits, sign="+")
