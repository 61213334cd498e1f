"""Tables of the smaller studies: held-out synthetic whole bodies, and patients of whom one modality is missing."""

from collections.abc import Mapping

import pandas as pd

from h2aseg_nnunet.petct.statistics import describe, paired_differences, summarize
from h2aseg_nnunet.petct.tables import to_markdown, with_interval
from studies.results import (
    DEFAULT,
    NEITHER,
    NETWORKS,
    NO_MCSA,
    NO_TAMW,
    PUBLISHED_MODULES,
    RESULTS,
    UNET_TRAINED_ALIKE,
    by_case,
    read_runs,
    shared,
)

WHOLE_BODIES = RESULTS / "wb8.csv"
"""What `h2aseg compare -i` wrote of phantoms: trainer, seed, folds, case, and the measures."""
MISSING = RESULTS / "sts6_missing.csv"
"""What `h2aseg robustness` wrote for several networks: trainer, seed, folds, case, condition, and the measures."""

ON_WHOLE_BODIES = {each: NETWORKS[each] for each in (UNET_TRAINED_ALIKE, NEITHER, DEFAULT)}
WITHOUT = {"intact": "CT and PET", "CT_missing": "without CT", "PET_missing": "without PET"}
NETWORKS_WITHOUT = (UNET_TRAINED_ALIKE, PUBLISHED_MODULES, DEFAULT, NO_MCSA, NO_TAMW, NEITHER)
MEASURES = {"Dice": ("dice", 3), "FPV, ml": ("false_positive_volume_ml", 1), "FNV, ml": ("false_negative_volume_ml", 1)}


def whole_bodies() -> str:
    """With and without MCSA and TAMW: means over seeds, then over cases."""
    return with_volumes(read_runs(WHOLE_BODIES), ON_WHOLE_BODIES, DEFAULT)


def missing_modality() -> str:
    """Dice of patients of whom one modality is replaced by its mean, networks of seed 0."""
    runs = read_runs(MISSING)
    runs = runs[runs.seed == 0]
    dice = {f"Dice, {title}": (by_case(runs[runs.condition == name]), 3) for name, title in WITHOUT.items()}
    return to_markdown(*minus_reference(dice, {trainer: NETWORKS[trainer] for trainer in NETWORKS_WITHOUT}, DEFAULT))


def missing_in_words() -> str:
    """What MCSA and TAMW are worth where a modality is missing, over all seeds."""
    runs = shared(read_runs(MISSING), (DEFAULT, NEITHER))
    seeds = ", ".join(str(seed) for seed in sorted(set(runs.seed)))
    lines = []
    for condition, title in WITHOUT.items():
        values = by_case(runs[runs.condition == condition])
        _, change = beside(values, DEFAULT, NEITHER, digits=3)
        lines.append(f"- {title}, seeds {seeds}: H2ASeg minus H2ASeg without both: {change}")
    return "\n".join(lines)


TABLES = (whole_bodies, missing_modality, missing_in_words)


def with_volumes(runs: pd.DataFrame, titles: Mapping[str, str], reference: str) -> str:
    """Dice and false volumes of the trainers in `titles` beside one of them, and how many patients are called empty."""
    measures = {title: (by_case(runs, measure, titles), digits) for title, (measure, digits) in MEASURES.items()}
    heading, rows = minus_reference(measures, titles, reference)
    for trainer, row in zip(titles, rows, strict=True):
        row.append(_called_empty(runs[runs.trainer == trainer]))
    return to_markdown([*heading, "without lesions, called empty"], rows)


def minus_reference(
    measures: Mapping[str, tuple[Mapping[str, dict[str, float]], int]], titles: Mapping[str, str], reference: str
) -> tuple[list[str], list[list[str]]]:
    """Heading and rows: each trainer's mean of every measure (values by trainer and case, digits), and its lead."""
    heading, rows = [""], {trainer: [title] for trainer, title in titles.items()}
    for measure, (values, digits) in measures.items():
        heading += [measure, f"minus {titles[reference]}"]
        for trainer, row in rows.items():
            row += beside(values, trainer, reference, digits)
    return heading, list(rows.values())


def beside(values: Mapping[str, dict[str, float]], name: str, reference: str, digits: int) -> list[str]:
    """Mean, and difference from the reference over the same cases; 95 % intervals."""
    difference = describe(list(paired_differences(values[reference], values[name]).values()))
    low, high = difference.interval_95
    change = f"{difference.mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"
    mean = with_interval(summarize(list(values[name].values())), f".{digits}f")
    return [mean, "" if name == reference else change]


def _called_empty(runs: pd.DataFrame) -> str:
    """Of the predictions of patients without lesions, of all seeds."""
    without = runs[runs.dice.isna()]
    return f"{(without.false_positive_volume_ml == 0).sum()} of {len(without)}"
