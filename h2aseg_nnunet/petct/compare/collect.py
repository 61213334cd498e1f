"""From finished runs to a comparison: values of cases, summaries of trainers, differences from the first one."""

import json
import math
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.compare.runs import Run, is_finished, read_record
from h2aseg_nnunet.petct.statistics import Difference, case_means, describe, holm, paired_differences, summarize

MEASURES = ("dice", "false_positive_volume_ml", "false_negative_volume_ml")
COSTS = ("parameters", "seconds_per_iteration", "peak_memory_bytes")

Key = tuple[int, str]
"""Seed and folds: what makes predictions of different trainers comparable."""


class Part(NamedTuple):
    """Cases that a model from one seed predicted: by one fold its validation cases, or by an ensemble held-out ones.

    Attributes:
        model: Name of nnU-Net's folder.
        seed: Of the run or runs.
        folds: One, or those of an ensemble.
        evaluation: File of the values.
        expected: Names of the cases.
    """

    model: str
    seed: int
    folds: str
    evaluation: Path
    expected: Collection[str]


class CaseValues(NamedTuple):
    """One case by one model from one seed, a row of the table of cases."""

    trainer: str
    seed: int
    folds: str
    case: str
    values: dict[str, float]


class Trainer(NamedTuple):
    """What is known about a trainer with its plans.

    Attributes:
        num_finished: Runs.
        num_planned: Runs.
        num_cases: That have values.
        summary: `summarize` of each measure over cases, means over seeds.
        costs: Medians over runs, None if unknown; patch_size and batch_size.
        surroundings: Hardware and versions, each once.
    """

    num_finished: int
    num_planned: int
    num_cases: int
    summary: dict[str, dict[str, Any]]
    costs: dict[str, Any]
    surroundings: list[dict[str, Any]]


class Comparison(NamedTuple):
    """Everything that is written and drawn.

    Attributes:
        reference: Label of the trainer that others are compared with.
        trainers: By label.
        cases: Of every run.
        differences: From the reference, by label and measure.
        pairs: By label: cases' means of each measure, of the reference and of the trainer, from the seeds and folds
            that both have finished.
        missing: Names and logs of what is not finished.
    """

    reference: str
    trainers: dict[str, Trainer]
    cases: list[CaseValues]
    differences: dict[str, dict[str, Difference]]
    pairs: dict[str, dict[str, tuple[dict[str, float], dict[str, float]]]]
    missing: dict[str, Path]


def collect(runs: Sequence[Run], parts: Sequence[Part], missing: Mapping[str, Path]) -> Comparison:
    """Compare the trainers of the runs; the first run's is the reference.

    Args:
        runs: All, finished or not.
        parts: What has been predicted and evaluated.
        missing: Name and log of what has not.

    Raises:
        UserError: If nothing is finished, or a part is of other cases than expected.
    """
    if not parts:
        raise UserError("no run is finished: there is nothing to compare.")
    labels = label_models(runs)
    values: dict[str, dict[Key, dict[str, dict[str, float]]]] = {label: {} for label in labels.values()}
    for part in parts:
        values[labels[part.model]][part.seed, part.folds] = _read_cases(part)
    reference, *others = values
    pairs = {label: _pair(values[reference], values[label]) for label in others}
    return Comparison(
        reference=reference,
        trainers={
            label: _describe_trainer([run for run in runs if labels[run.model.name] == label], values[label])
            for label in values
        },
        cases=list(_rows(values)),
        differences=_differences(pairs),
        pairs=pairs,
        missing=dict(missing),
    )


def label_models(runs: Sequence[Run]) -> dict[str, str]:
    """A name for each model folder's name: the trainer's, with its plans where they differ."""
    models = {run.model.name: run for run in runs}
    several = len({run.plans for run in runs}) > 1
    return {name: f"{run.trainer}:{run.plans}" if several else run.trainer for name, run in models.items()}


def _read_cases(part: Part) -> dict[str, dict[str, float]]:
    cases = json.loads(part.evaluation.read_text(encoding="utf-8"))["cases"]
    if set(cases) != set(part.expected):
        raise UserError(
            f"{part.evaluation} has other cases than fold {part.folds} or the held-out folder has now: choose another "
            f"folder with -o, or move {part.evaluation.parent} away."
        )
    return {
        case: {name: math.nan if values[name] is None else values[name] for name in MEASURES}
        for case, values in cases.items()
    }


def _rows(values: Mapping[str, Mapping[Key, Mapping[str, dict[str, float]]]]) -> Iterator[CaseValues]:
    for label, by_key in values.items():
        for (seed, folds), cases in sorted(by_key.items()):
            for case, found in cases.items():
                yield CaseValues(label, seed, folds, case, found)


def _means(by_key: Mapping[Key, Mapping[str, Mapping[str, float]]], keys: set[Key]) -> dict[str, dict[str, float]]:
    """By measure: each case's mean over the runs of these seeds and folds."""
    runs = [by_key[key] for key in sorted(keys)]
    return {
        measure: case_means([{case: found[measure] for case, found in run.items()} for run in runs])
        for measure in MEASURES
    }


def _pair(reference: Mapping, other: Mapping) -> dict[str, tuple[dict[str, float], dict[str, float]]]:
    shared = set(reference) & set(other)
    means = _means(reference, shared), _means(other, shared)
    return {measure: (means[0][measure], means[1][measure]) for measure in MEASURES}


def _differences(pairs: Mapping[str, Mapping]) -> dict[str, dict[str, Difference]]:
    differences: dict[str, dict[str, Difference]] = {
        label: {measure: describe(list(paired_differences(*of_measure[measure]).values())) for measure in MEASURES}
        for label, of_measure in pairs.items()
    }
    for measure in MEASURES:
        corrected = holm([by_measure[measure].wilcoxon_p for by_measure in differences.values()])
        for by_measure, holm_p in zip(differences.values(), corrected, strict=True):
            by_measure[measure] = by_measure[measure]._replace(holm_p=holm_p)
    return differences


def _describe_trainer(runs: Sequence[Run], by_key: Mapping[Key, Mapping]) -> Trainer:
    records = [read_record(run) for run in runs if is_finished(run)]
    means = _means(by_key, set(by_key))
    surroundings = [record["surroundings"] for record in records]
    return Trainer(
        num_finished=len(records),
        num_planned=len(runs),
        num_cases=len(means[MEASURES[0]]),
        summary={measure: summarize(list(cases.values())) for measure, cases in means.items()},
        costs=_costs([record["costs"] for record in records]),
        surroundings=[each for index, each in enumerate(surroundings) if each not in surroundings[:index]],
    )


def _costs(costs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    medians = {}
    for name in COSTS:
        known = [each[name] for each in costs if each[name] is not None]
        medians[name] = statistics.median(known) if known else None
    return medians | {name: costs[0][name] if costs else None for name in ("patch_size", "batch_size")}
