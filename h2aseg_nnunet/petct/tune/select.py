"""Which rule is chosen, what every family gains on left-out patients, and whom it helps or harms."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.petct.postprocess.rules import NO_RULE, Rule
from h2aseg_nnunet.petct.tune.candidates import Families, columns_of
from h2aseg_nnunet.petct.tune.crossvalidation import Change, Fit, best_family, best_of, choose_among, judge
from h2aseg_nnunet.petct.tune.values import Values

SHOWN = ("dice", "false_positive_volume_ml", "false_negative_volume_ml", "f1")
"""Measures whose change is told, whatever the metric."""


class Judged(NamedTuple):
    """A way to fit rules, and what it does on patients that were left out.

    Attributes:
        name: Name of the family, or of the choice among all.
        rule: Its rule, fitted to all patients.
        gain: Gain of the metric on left-out patients; `larger` counts those helped, `smaller` those harmed.
        changes: By measure, the change on left-out patients.
        lost_lesions: Reference lesions that were found without the rule and are not with it, mean over divisions.
        found_lesions: Reference lesions that were found without a rule.
        emptied: Patients without lesions who are called empty with the rule and were not without.
        share_of_same: Share of the fits without a fold that gave the same rule as all patients.
    """

    name: str
    rule: Rule
    gain: Change
    changes: dict[str, Change]
    lost_lesions: float
    found_lesions: int
    emptied: float
    share_of_same: float

    @property
    def is_certain(self) -> bool:
        """Whether the interval of the gain lies above 0."""
        return self.gain.interval_95[0] > 0

    def as_json(self) -> dict[str, Any]:
        described = self._asdict() | {"rule": self.rule.as_json(), "in_words": self.rule.describe()}
        return described | {
            "gain": self.gain._asdict(),
            "changes": {name: change._asdict() for name, change in self.changes.items()},
        }


class Selection(NamedTuple):
    """The rule that is chosen, and what was looked at.

    Attributes:
        rule: The rule; `NO_RULE` if none is worth it.
        chosen: The choice among all families, judged as a whole.
        family: The family of the rule, even if it is not chosen; None if none gains anything.
        families: Every family by itself.
        path: Along the family of the rule, from gentle to harsh: mean false-positive and false-negative volume of
            all patients by each rule, and the rules.
    """

    rule: Rule
    chosen: Judged
    family: str | None
    families: list[Judged]
    path: list[tuple[Rule, float, float]]


def select(values: Values, families: Families, even_if_uncertain: bool = False, seed: int = 0) -> Selection:
    """Choose a rule, or none.

    Args:
        values: All patients by all rules.
        families: The families; their rules are those of `values`.
        even_if_uncertain: Whether a rule is chosen whose gain has an interval that includes 0.
        seed: Seed of the divisions and of the bootstrap.
    """
    gains, columns = values.gains, columns_of(families, values.rules)
    chosen = _judge("choice among all", values, gains, choose_among(columns), seed)
    of_families = [_judge(name, values, gains, best_of(of_one), seed) for name, of_one in columns.items()]
    family = best_family(gains, columns, seed)
    rule = chosen.rule if chosen.is_certain else NO_RULE
    if even_if_uncertain and rule == NO_RULE:
        in_order = [chosen, *sorted(of_families, key=lambda judged: -judged.gain.mean)]
        rule = next((judged.rule for judged in in_order if judged.rule != NO_RULE), NO_RULE)
    path = _path(values, columns[family]) if family else []
    return Selection(rule, chosen, family, of_families, path)


def _judge(name: str, values: Values, gains: NDArray, fit: Fit, seed: int) -> Judged:
    left_out = judge(gains, fit, seed)
    column = fit(gains, seed)
    matrices = {measure: values.measures[measure] for measure in SHOWN}
    changes = {name: Change.of(left_out.values(each - each[:, :1]), seed) for name, each in matrices.items()}
    lost = np.maximum(values.found_lesions[:, :1] - values.found_lesions, 0)
    healthy = ~values.ill
    emptied = left_out.values(values.measures["empty"] - values.measures["empty"][:, :1])[healthy].sum()
    return Judged(
        name,
        values.rules[column],
        left_out.gain,
        changes,
        lost_lesions=float(left_out.values(lost).sum()),
        found_lesions=int(values.found_lesions[:, 0].sum()),
        emptied=float(emptied),
        share_of_same=float((left_out.picks == column).mean()),
    )


def _path(values: Values, columns: Sequence[int]) -> list[tuple[Rule, float, float]]:
    false, missed = (values.measures[f"false_{which}_volume_ml"] for which in ("positive", "negative"))
    return [(values.rules[column], float(np.nanmean(false[:, column])), _mean(missed[:, column])) for column in columns]


def _mean(values: NDArray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else 0.0
