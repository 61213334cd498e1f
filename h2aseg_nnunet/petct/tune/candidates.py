"""The rules that are tried, in families: a family is fitted and judged as one."""

from collections.abc import Sequence
from itertools import combinations, product

from h2aseg_nnunet.petct.postprocess.rules import NO_RULE, Condition, Outline, Rule

PROBABILITIES = (0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9)
"""Without 0.5, which is nnU-Net's own for one class."""

VALUES = {
    "volume_ml": (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0),
    "suv_max": (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0),
    "suv_peak": (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0),
    "mean_probability": (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95),
}
"""Feature -> what a lesion needs at least, from gentle to harsh."""

NAMES = {"volume_ml": "volume", "suv_max": "SUVmax", "suv_peak": "SUVpeak", "mean_probability": "mean probability"}
TOTALS_ML = (0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0)
REACHES_MM = (4.0, 8.0)
SNAPS = (("suv", (2.0, 2.5, 3.0, 3.5, 4.0)), ("share", (0.41, 0.5)))
LIVER_FACTORS = (1.0,)

Families = dict[str, list[Rule]]


def make_families(with_liver: bool = False) -> Families:
    """Return the rules of each family by its name, simple families first.

    The first rule of each changes nothing, and gentle ones come early.

    Args:
        with_liver: Whether PERCIST's threshold of the liver is known.
    """
    probabilities = [Outline("probability", value) for value in PROBABILITIES]
    snaps = _snaps(with_liver)
    single = {name: [(Condition(name, value),) for value in values] for name, values in VALUES.items()}
    every = [conditions for of_one in single.values() for conditions in of_one]
    families: Families = {NAMES[name]: [Rule(conditions=each) for each in of_one] for name, of_one in single.items()}
    families["patient's total"] = [Rule(least_total_ml=total) for total in TOTALS_ML]
    families["probability"] = [Rule(outline) for outline in probabilities]
    families["snap"] = [Rule(outline) for outline in snaps]
    for first, second in combinations(single, 2):
        pairs = [a + b for a, b in product(single[first], single[second])]
        families[f"{NAMES[first]} or {NAMES[second]}"] = [Rule(conditions=each, needs_all=False) for each in pairs]
        families[f"{NAMES[first]} and {NAMES[second]}"] = [Rule(conditions=each) for each in pairs]
    families["probability, then lesions"] = [Rule(*each) for each in product(probabilities, every)]
    families["snap, then lesions"] = [Rule(*each) for each in product(snaps, every)]
    families["lesions, then patient's total"] = [
        Rule(conditions=each, least_total_ml=total) for each, total in product(every, TOTALS_ML)
    ]
    return {name: [NO_RULE, *rules] for name, rules in families.items()}


def all_rules(families: Families) -> list[Rule]:
    """Return the different rules of all families; the first changes nothing."""
    return list(dict.fromkeys(rule for rules in families.values() for rule in rules))


def columns_of(families: Families, rules: Sequence[Rule]) -> dict[str, list[int]]:
    """Return where the rules of each family are among all."""
    position = {rule: number for number, rule in enumerate(rules)}
    return {name: [position[rule] for rule in of_family] for name, of_family in families.items()}


def _snaps(with_liver: bool) -> list[Outline]:
    kinds = [*SNAPS, *([("liver", LIVER_FACTORS)] if with_liver else [])]
    return [Outline(kind, value, reach) for kind, values in kinds for value in values for reach in REACHES_MM]
