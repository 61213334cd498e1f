"""Rules that change a predicted mask: how tumor is outlined, which lesions stay, and which patients have none."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FEATURES = {
    "volume_ml": "volume >= {:g} ml",
    "suv_max": "SUVmax >= {:g}",
    "suv_peak": "SUVpeak >= {:g}",
    "mean_probability": "mean probability >= {:g}",
}
"""What is known of a predicted lesion -> a condition in words."""

OUTLINES = {
    "own": "the model's own outline",
    "probability": "tumor probability > {:g}",
    "suv": "SUV >= {:g} within {:g} mm of the mask",
    "share": "{:.0%} of the lesion's SUVmax within {:g} mm of it",
    "liver": "{:g} x PERCIST's liver threshold within {:g} mm of the mask",
}
"""Kind of an outline -> the outline in words."""


class Outline(NamedTuple):
    """Which voxels are tumor.

    Attributes:
        kind: One of `OUTLINES`.
        value: Probability, SUV, share of the lesion's SUVmax, or factor of the liver's threshold.
        reach_mm: How far beyond the model's mask tumor may lie; decides nothing for "own" and "probability".
    """

    kind: str = "own"
    value: float = 0.0
    reach_mm: float = 0.0

    @property
    def follows_uptake(self) -> bool:
        """Whether the outline is drawn by the PET around the model's mask."""
        return self.kind in ("suv", "share", "liver")


class Condition(NamedTuple):
    """What a lesion needs at least of one of `FEATURES`."""

    feature: str
    at_least: float


class Rule(NamedTuple):
    """A rule: first the outline, then the lesions that stay, then the patient's total.

    Attributes:
        outline: Which voxels are tumor.
        conditions: What a lesion needs; a lesion is a connected component of the outline.
        needs_all: Whether a lesion must meet all conditions, or one of them.
        least_total_ml: A patient with less tumor than this has none.
    """

    outline: Outline = Outline()
    conditions: tuple[Condition, ...] = ()
    needs_all: bool = True
    least_total_ml: float = 0.0

    @property
    def changes_nothing(self) -> bool:
        return self == NO_RULE

    @property
    def needs_probability(self) -> bool:
        return self.outline.kind == "probability" or self.asks("mean_probability")

    @property
    def needs_suv(self) -> bool:
        return self.outline.follows_uptake or self.asks("suv_max") or self.asks("suv_peak")

    @property
    def needs_liver(self) -> bool:
        return self.outline.kind == "liver"

    def asks(self, feature: str) -> bool:
        """Whether a condition asks for one of `FEATURES`."""
        return any(condition.feature == feature for condition in self.conditions)

    def keeps(self, features: Mapping[str, NDArray], count: int) -> NDArray[np.bool_]:
        """Return which of `count` lesions stay.

        Args:
            features: A value of each lesion, by name; those that the rule does not ask for may be missing.
            count: Number of lesions.
        """
        if not self.conditions:
            return np.ones(count, bool)
        met = [features[condition.feature] >= condition.at_least for condition in self.conditions]
        return np.all(met, axis=0) if self.needs_all else np.any(met, axis=0)

    def describe(self) -> str:
        """The rule in words."""
        if self.changes_nothing:
            return "no rule"
        words = []
        if self.outline.kind != "own":
            words.append(OUTLINES[self.outline.kind].format(self.outline.value, self.outline.reach_mm))
        joint = " and " if self.needs_all else " or "
        conditions = [FEATURES[condition.feature].format(condition.at_least) for condition in self.conditions]
        if conditions:
            words.append(f"lesions of {joint.join(conditions)}")
        if self.least_total_ml:
            words.append(f"nothing in patients with less than {self.least_total_ml:g} ml")
        return "; ".join(words)

    def as_json(self) -> dict[str, Any]:
        return {
            "outline": self.outline._asdict(),
            "conditions": [condition._asdict() for condition in self.conditions],
            "needs_all": self.needs_all,
            "least_total_ml": self.least_total_ml,
        }

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Rule":
        """Read a rule as `as_json` gives it.

        Raises:
            ValueError: If a kind of outline or a feature is unknown; also KeyError and TypeError for other forms.
        """
        outline = Outline(**content["outline"])
        outline = outline._replace(value=float(outline.value), reach_mm=float(outline.reach_mm))
        conditions = tuple(Condition(each["feature"], float(each["at_least"])) for each in content["conditions"])
        unknown = {condition.feature for condition in conditions} - FEATURES.keys() | {outline.kind} - OUTLINES.keys()
        if unknown:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        if not isinstance(content["needs_all"], bool):
            raise ValueError(f"needs_all is {content['needs_all']!r}, neither true nor false")
        return cls(outline, conditions, content["needs_all"], float(content["least_total_ml"]))


NO_RULE = Rule()


def outlines_of(rules: Sequence[Rule]) -> list[Outline]:
    """Return the different outlines of some rules, in the order in which they occur."""
    return list(dict.fromkeys(rule.outline for rule in rules))
