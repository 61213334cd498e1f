"""From trainers to their comparison: carry out the runs that are not finished, then compare. Read this first."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.cases import images_in
from h2aseg_nnunet.petct.compare.collect import Comparison, PredictedCases, collect
from h2aseg_nnunet.petct.compare.heldout import Ensemble, HeldOut, is_predicted, is_trained, make_ensembles
from h2aseg_nnunet.petct.compare.text import check_outputs, write
from h2aseg_nnunet.petct.compare.training_runs import Run, is_finished
from h2aseg_nnunet.petct.execute import Execute, execute_all
from h2aseg_nnunet.petct.nnunet.splits import Fold
from h2aseg_nnunet.petct.nnunet.trainable import check_runs


class ComparisonOutcome(NamedTuple):
    """What became of the runs; text and comparison are None where no table was asked for."""

    failures: Sequence[object]
    text: str | None = None
    comparison: Comparison | None = None


def commands(runs: Sequence[Run]) -> list[str]:
    """Return a command for each run that is not finished; they may run at the same time.

    Raises:
        UserError: See `check_runs` and `is_finished`.
    """
    check_runs(runs)
    return [shlex.join(["h2aseg", *run.arguments()]) for run in runs if not is_finished(run)]


def compare_trainers(
    runs: Sequence[Run], only: str | None = None, heldout: HeldOut | None = None, execute: Execute | None = None
) -> ComparisonOutcome:
    """Carry out the runs that are not finished, write the table of all that are.

    Args:
        runs: The runs, from `make_runs`.
        only: "runs" to leave the table out, "table" to run nothing.
        heldout: Cases that the folds of a trainer and seed predict together; None to compare on each fold's
            validation cases.
        execute: Carries runs and predictions out; None for `execute_all`, one after the other.

    Raises:
        UserError: See `check_runs`, `check_outputs`, `is_finished`, `make_ensembles` and `collect`.
    """
    if only != "runs" and len({run.model.name for run in runs}) < 2:
        raise UserError("name at least two trainers to compare; --only runs carries out the runs of one.")
    files = Path(runs[0].folder, f"compare_{heldout.label}" if heldout else "compare")
    check_outputs(files, runs[0])
    splits = check_runs(runs)
    ensembles = make_ensembles(runs, heldout) if heldout else []
    failures = [] if only == "table" else _carry_out(runs, ensembles, execute or execute_all)
    if only == "runs":
        return ComparisonOutcome(failures)
    if heldout:
        predicted = [_cases_of_ensemble(ensemble) for ensemble in ensembles if is_predicted(ensemble)]
    else:
        predicted = [_cases_of_run(run, splits) for run in runs if is_finished(run)]
    comparison = collect(runs, predicted, _missing(runs, ensembles))
    return ComparisonOutcome(failures, write(comparison, runs, files, heldout), comparison)


def _carry_out(runs: Sequence[Run], ensembles: Sequence[Ensemble], execute: Execute) -> Sequence[object]:
    unfinished = [run for run in runs if not is_finished(run)]
    failures = execute(unfinished, len(runs) - len(unfinished), "run")
    predictable = [ensemble for ensemble in ensembles if is_trained(ensemble) and not is_predicted(ensemble)]
    return [*failures, *(execute(predictable, 0, "ensemble") if predictable else [])]


def _missing(runs: Sequence[Run], ensembles: Sequence[Ensemble]) -> dict[str, Path]:
    missing = {run.name: run.log for run in runs if not is_finished(run)}
    return missing | {each.name: each.log for each in ensembles if not is_predicted(each)}


def _cases_of_run(run: Run, splits: Sequence[Fold]) -> PredictedCases:
    return PredictedCases(run.model.name, run.seed, str(run.fold), run.evaluation, splits[run.fold]["val"])


def _cases_of_ensemble(ensemble: Ensemble) -> PredictedCases:
    run, folds = ensemble.runs[0], " ".join(str(run.fold) for run in ensemble.runs)
    expected = images_in(Path(ensemble.heldout.references))
    return PredictedCases(run.model.name, run.seed, folds, ensemble.evaluation, expected)
