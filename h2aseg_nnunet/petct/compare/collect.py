"""From finished runs to a comparison: values of cases, summaries of trainers, differences from the first one."""

import math
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.compare.training_runs import Run, is_finished, read_record
from h2aseg_nnunet.petct.files import read_json
from h2aseg_nnunet.petct.measures import KEYS
from h2aseg_nnunet.petct.statistics import Difference, case_means, describe, holm, paired_differences, summarize

COSTS = ("parameters", "seconds_per_iteration", "peak_memory_bytes")

SeedAndFolds = tuple[int, str]
"""What makes predictions of different trainers comparable."""

ValuesOfCases = dict[str, dict[str, float]]
"""Values by case and measure."""


class PredictedCases(NamedTuple):
    """Cases that a model from one seed predicted: by one fold its validation cases, or by an ensemble held-out ones.

    Attributes:
        model: Name of nnU-Net's folder of the model.
        seed: Seed of the run or runs.
        folds: One fold, or those of an ensemble.
        evaluation: File of the values.
        expected: Names of the cases.
    """

    model: str
    seed: int
    folds: str
    evaluation: Path
    expected: Collection[str]


class CaseRow(NamedTuple):
    """Values of one case by one model from one seed, a row of the table of cases."""

    trainer: str
    seed: int
    folds: str
    case: str
    values: dict[str, float]


class TrainerSummary(NamedTuple):
    """What is known about a trainer with its plans.

    Attributes:
        num_finished, num_planned: Number of runs finished and planned.
        num_cases: Number of cases with a value.
        summary: `summarize` of each measure over cases, whose values are means over seeds.
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
        trainers: What is known about each trainer, by label.
        cases: Values of the cases of every run.
        differences: Differences from the reference, by label and measure.
        pairs: By label and measure: the cases' means of the reference and of the trainer, from the seeds and folds that
            both have finished.
        missing: Names and logs of what is not finished.
    """

    reference: str
    trainers: dict[str, TrainerSummary]
    cases: list[CaseRow]
    differences: dict[str, dict[str, Difference]]
    pairs: dict[str, dict[str, tuple[dict[str, float], dict[str, float]]]]
    missing: dict[str, Path]


def collect(runs: Sequence[Run], predicted: Sequence[PredictedCases], missing: Mapping[str, Path]) -> Comparison:
    """Compare the trainers of the runs; the first run's is the reference.

    Args:
        runs: All runs, finished or not.
        predicted: What has been predicted and evaluated.
        missing: Name and log of what has not.

    Raises:
        UserError: If nothing is finished, or other cases than expected were predicted.
    """
    if not predicted:
        raise UserError("no run is finished: there is nothing to compare.")
    labels = label_models(runs)
    values: dict[str, dict[SeedAndFolds, ValuesOfCases]] = {label: {} for label in labels.values()}
    for cases in predicted:
        values[labels[cases.model]][cases.seed, cases.folds] = _read_cases(cases)
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
    """Choose a label for each model folder's name: the trainer's, with its plans where they differ."""
    models = {run.model.name: run for run in runs}
    several = len({run.plans for run in runs}) > 1
    return {name: f"{run.trainer}:{run.plans}" if several else run.trainer for name, run in models.items()}


def _read_cases(predicted: PredictedCases) -> ValuesOfCases:
    cases = read_json(predicted.evaluation)["cases"]
    if set(cases) != set(predicted.expected):
        raise UserError(
            f"{predicted.evaluation} has other cases than fold {predicted.folds} or the held-out folder has now: "
            f"choose another folder with -o, or move {predicted.evaluation.parent} away."
        )
    return {
        case: {name: math.nan if values[name] is None else values[name] for name in KEYS}
        for case, values in cases.items()
    }


def _rows(values: Mapping[str, Mapping[SeedAndFolds, ValuesOfCases]]) -> Iterator[CaseRow]:
    for label, by_key in values.items():
        for (seed, folds), cases in sorted(by_key.items()):
            for case, found in cases.items():
                yield CaseRow(label, seed, folds, case, found)


def _means(
    by_key: Mapping[SeedAndFolds, Mapping[str, Mapping[str, float]]], keys: set[SeedAndFolds]
) -> dict[str, dict[str, float]]:
    """Return, by measure, each case's mean over the runs of these seeds and folds."""
    runs = [by_key[key] for key in sorted(keys)]
    return {
        measure: case_means([{case: found[measure] for case, found in run.items()} for run in runs]) for measure in KEYS
    }


def _pair(reference: Mapping, other: Mapping) -> dict[str, tuple[dict[str, float], dict[str, float]]]:
    shared = set(reference) & set(other)
    means = _means(reference, shared), _means(other, shared)
    return {measure: (means[0][measure], means[1][measure]) for measure in KEYS}


def _differences(pairs: Mapping[str, Mapping]) -> dict[str, dict[str, Difference]]:
    differences: dict[str, dict[str, Difference]] = {
        label: {measure: describe(list(paired_differences(*of_measure[measure]).values())) for measure in KEYS}
        for label, of_measure in pairs.items()
    }
    for measure in KEYS:
        corrected = holm([by_measure[measure].wilcoxon_p for by_measure in differences.values()])
        for by_measure, holm_p in zip(differences.values(), corrected, strict=True):
            by_measure[measure] = by_measure[measure]._replace(holm_p=holm_p)
    return differences


def _describe_trainer(runs: Sequence[Run], by_key: Mapping[SeedAndFolds, Mapping]) -> TrainerSummary:
    records = [read_record(run) for run in runs if is_finished(run)]
    means = _means(by_key, set(by_key))
    surroundings = [record["surroundings"] for record in records]
    return TrainerSummary(
        num_finished=len(records),
        num_planned=len(runs),
        num_cases=len(means[KEYS[0]]),
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
