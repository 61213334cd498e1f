"""Every published accuracy table from `studies/results`: `python -m studies.tables` writes them into the pages.

With `--check` nothing is written: exit code 1 names what differs from the results. A generated part of a page stands
between `<!-- table: NAME -->` and `<!-- end -->`; outside of them docs/accuracy.md may hold no accuracy at all.
"""

import argparse
import sys
import textwrap
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path

import pandas as pd

from h2aseg_nnunet.petct.statistics import Difference, summarize
from h2aseg_nnunet.petct.tables import number, to_markdown, with_interval
from studies import false_positives, figure, further
from studies.pages import differing, fill, typed, unpublished
from studies.results import (
    DEFAULT,
    NEITHER,
    NETWORKS,
    PUBLISHED_MODULES,
    UNET,
    UNET_TRAINED_ALIKE,
    by_case,
    cases_where_pet_misleads,
    comparable,
    differences_from,
    keys,
    read_runs,
    shared,
)

REPOSITORY = Path(__file__).parents[1]
ACCURACY = REPOSITORY / "docs" / "accuracy.md"
PAGES = (REPOSITORY / "README.md", ACCURACY)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.tables", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail if a page differs")
    options = parser.parse_args()
    tables = make_tables()
    if not options.check:
        for page in PAGES:
            page.write_text(fill(page.read_text(), tables))
        figure.draw(comparable(read_runs()))
    if faults := find_faults(tables):
        sys.exit("\n".join(faults))


def make_tables() -> dict[str, str]:
    """Name -> Markdown."""
    runs = read_runs()
    return {make.__name__: make(runs) for make in BLOCKS} | {make.__name__: make() for make in MORE}


def find_faults(tables: Mapping[str, str]) -> list[str]:
    """A line for everything published that is not what the results give."""
    different = [fault for page in PAGES for fault in differing(page, tables)]
    return different + unpublished(PAGES, tables) + typed(ACCURACY) + figure.faults()


def results(runs: pd.DataFrame) -> str:
    """The README's table: one unit per column."""
    return "\n\n".join(one_unit_per_column(each) for each in comparable(runs))


def one_unit_per_column(runs: pd.DataFrame) -> str:
    dice, falsely_ml = by_case(runs), by_case(runs, "false_positive_volume_ml")
    rows = [
        [NETWORKS[trainer], f"`{trainer}`", f"{mean(dice[trainer]):.3f}", f"{mean(falsely_ml[trainer]):.1f}"]
        for trainer in dice
    ]
    return to_markdown(
        ["", "trainer", f"Dice, {number_of_cases(dice)} patients", "false-positive volume, ml per patient"], rows
    )


def accuracy(runs: pd.DataFrame) -> str:
    """All networks with intervals, beside the U-Net and beside the default."""
    between_tables = "\n\n**The ablations** have finished fewer runs, so they are compared apart.\n\n"
    return between_tables.join(f"{coverage(each)}\n\n{with_intervals(each)}" for each in comparable(runs))


def coverage(runs: pd.DataFrame) -> str:
    folds: dict[int, list[str]] = {}
    for seed, fold in keys(runs):
        folds.setdefault(seed, []).append(str(fold))
    listed = "; ".join(f"seed {seed}: fold {', '.join(each)}" for seed, each in folds.items())
    return wrapped(
        f"{runs.case.nunique()} patients, each predicted by networks that have not seen it. "
        f"Trainings of every network: {len(keys(runs))} ({listed}). A patient's values are averaged over seeds first."
    )


def with_intervals(runs: pd.DataFrame) -> str:
    dice = by_case(runs)
    falsely_ml, missed_ml = (by_case(runs, f"false_{kind}_volume_ml") for kind in ("positive", "negative"))
    beside = {reference: differences_from(reference, dice) for reference in (UNET, DEFAULT) if reference in dice}
    rows = [
        [
            f"{NETWORKS[trainer]} (`{trainer}`)",
            with_interval(summarize(list(dice[trainer].values())), ".3f"),
            *(change(differences[trainer]) if trainer in differences else "" for differences in beside.values()),
            with_interval(summarize(list(falsely_ml[trainer].values())), ".1f"),
            with_interval(summarize(list(missed_ml[trainer].values())), ".1f"),
        ]
        for trainer in dice
    ]
    return to_markdown(["", "Dice", *(f"minus {NETWORKS[each]}" for each in beside), "FPV, ml", "FNV, ml"], rows)


def where_pet_misleads(runs: pd.DataFrame) -> str:
    """Dice of the two halves of the patients."""
    dice, misleading = by_case(comparable(runs)[0]), cases_where_pet_misleads()
    halves = {
        "PET misleads": {trainer: only(cases, misleading) for trainer, cases in dice.items()},
        "PET is enough": {trainer: only(cases, cases.keys() - misleading) for trainer, cases in dice.items()},
    }
    heading, rows = [""], [[NETWORKS[trainer]] for trainer in dice]
    for name, half in halves.items():
        heading += [f"{name} ({number_of_cases(half)})", f"minus {NETWORKS[UNET]}"]
        differences = differences_from(UNET, half)
        for row, (trainer, cases) in zip(rows, half.items(), strict=True):
            row += [f"{mean(cases):.3f}", change(differences[trainer]) if trainer in differences else ""]
    return to_markdown(heading, rows)


def by_seed_and_fold(runs: pd.DataFrame) -> str:
    """Means of every training's own validation cases; a dash where a training is not finished."""
    means = runs.pivot_table(index="trainer", columns=["seed", "folds"], values="dice")
    seeds = list(means.columns.unique("seed"))
    rows = [
        [title, *(", ".join(number(value, ".3f") for value in means.loc[trainer, seed]) for seed in seeds)]
        for trainer, title in NETWORKS.items()
    ]
    folds = [", ".join(map(str, means[seed].columns)) for seed in seeds]
    return to_markdown(["", *(f"seed {seed}: fold {each}" for seed, each in zip(seeds, folds, strict=True))], rows)


def in_words(runs: pd.DataFrame) -> str:
    """The differences that answer a reader's questions, each with the p of this one comparison."""
    questions = {
        "H2ASeg and its training: H2ASeg minus U-Net": (DEFAULT, UNET),
        "the training alone: U-Net trained as H2ASeg minus U-Net": (UNET_TRAINED_ALIKE, UNET),
        "the network alone: H2ASeg minus U-Net trained as H2ASeg": (DEFAULT, UNET_TRAINED_ALIKE),
        "the form of MCSA and TAMW: H2ASeg minus H2ASeg with the paper's modules": (DEFAULT, PUBLISHED_MODULES),
        "MCSA and TAMW: H2ASeg minus H2ASeg without both": (DEFAULT, NEITHER),
    }
    lines = [f"- {question}: {answer(between(*pair, runs))}" for question, pair in questions.items()]
    values = by_case(shared(runs, (DEFAULT, NEITHER)))
    seeds = ", ".join(str(seed) for seed in sorted({seed for seed, _ in keys(shared(runs, (DEFAULT, NEITHER)))}))
    return "\n".join([*lines, f"- the same, seeds {seeds}: {answer(differences_from(NEITHER, values)[DEFAULT])}"])


def headline(runs: pd.DataFrame) -> str:
    """What a user wants to know, worded by the intervals."""
    beside = {
        "nnU-Net's U-Net": UNET,
        "that U-Net trained as H2ASeg is": UNET_TRAINED_ALIKE,
        "itself without MCSA and TAMW": NEITHER,
    }
    verdicts = [verdict(between(DEFAULT, reference, runs), name) for name, reference in beside.items()]
    return wrapped(f"In Dice, H2ASeg {'; it '.join(verdicts)}. In brackets: 95 % intervals over patients.")


BLOCKS: tuple[Callable[[pd.DataFrame], str], ...] = (
    results,
    headline,
    accuracy,
    in_words,
    where_pet_misleads,
    by_seed_and_fold,
)


MORE: tuple[Callable[[], str], ...] = (*further.TABLES, *false_positives.TABLES)
"""Those of studies with results of their own."""


def between(trainer: str, reference: str, runs: pd.DataFrame) -> Difference:
    """One comparison by itself, of the runs that its table holds: its p needs no correction for others."""
    (table,) = [each for each in comparable(runs) if {trainer, reference} <= set(each.trainer)]
    values = by_case(table)
    return differences_from(reference, {name: values[name] for name in (reference, trainer)})[trainer]


def answer(difference: Difference) -> str:
    return f"{change(difference)}, better in {difference.larger} of {difference.num_cases} patients"


def verdict(difference: Difference, name: str) -> str:
    """Ahead or behind only where the interval leaves zero out."""
    low, high = difference.interval_95
    relation = "is ahead of" if low > 0 else "is behind" if high < 0 else "is not shown to differ from"
    return f"{relation} {name} ({difference.mean:+.3f} [{low:+.3f}, {high:+.3f}], {difference.num_cases} patients)"


def change(difference: Difference) -> str:
    low, high = difference.interval_95
    p = "p < 0.0001" if difference.holm_p < 1e-4 else f"p {difference.holm_p:.2g}"
    return f"{difference.mean:+.3f} [{low:+.3f}, {high:+.3f}], {p}"


def mean(cases: Mapping[str, float]) -> float:
    return summarize(list(cases.values()))["mean"]


def only(cases: Mapping[str, float], names: AbstractSet[str]) -> dict[str, float]:
    return {case: value for case, value in cases.items() if case in names}


def number_of_cases(values: Mapping[str, Mapping[str, float]]) -> int:
    return len(values[DEFAULT])


def wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_on_hyphens=False)


if __name__ == "__main__":
    main()
