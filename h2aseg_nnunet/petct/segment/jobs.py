"""Cases as jobs of Slurm, each of some cases: what a job is told, and what it leaves."""

import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from h2aseg_nnunet.petct.cluster.slurm import FOLDER
from h2aseg_nnunet.petct.dicom.inputs import Input
from h2aseg_nnunet.petct.execute import Execute
from h2aseg_nnunet.petct.files import read_own_json, write_json
from h2aseg_nnunet.petct.nnunet.on_workers import put
from h2aseg_nnunet.petct.segment.finish import Outcome, finished


class Chunk(NamedTuple):
    """Some cases, which a job segments one after the other.

    Attributes:
        output: The output folder.
        names: Names of the cases.
        processes: Number of processes beside the network's.
    """

    output: Path
    names: tuple[str, ...]
    processes: int

    @property
    def name(self) -> str:
        """Name in messages, and by which a job that runs is known again."""
        return f"{len(self.names)} cases, {self.names[0]} to {self.names[-1]}"

    @property
    def file(self) -> Path:
        """What the job is told."""
        digest = hashlib.sha256("\n".join(self.names).encode()).hexdigest()[:12]
        return self.output / FOLDER / f"cases_{digest}.pkl"

    @property
    def log(self) -> Path:
        """Output of the process."""
        return self.file.with_suffix(".log")

    @property
    def outcomes(self) -> Path:
        """What became of the cases that were refused."""
        return self.file.with_suffix(".json")

    @property
    def results(self) -> Path:
        """nnUNet_results of the process, which reads none."""
        return self.output

    def process(self) -> list[str]:
        """Return the command that carries it out."""
        return [sys.executable, "-m", "h2aseg_nnunet.petct.segment.chunk", str(self.file)]

    def write_refused(self, outcomes: Sequence[Outcome]) -> None:
        """Leave what became of refused cases; the others have their folders."""
        write_json(self.outcomes, {each.name: [each.refused, each.trace] for each in outcomes if each.refused})

    def outcome_of(self, name: str, record: dict[str, Any] | None) -> Outcome:
        """Return what became of a case.

        Args:
            name: The case.
            record: What its folder says; None if it is not finished.
        """
        if record is not None:
            return Outcome(name, None, record)
        cut_short = [f"its job ended before it was done: see {self.log}.", ""]
        refused, trace = (read_own_json(self.outcomes) or {}).get(name, cut_short)
        return Outcome(name, refused, {}, trace)


def segment_in_jobs(
    execute: Execute, cases: Sequence[Input], done: Mapping[str, Any], told: tuple[Any, ...]
) -> Iterator[Outcome]:
    """Segment cases in jobs; yield what became of those that were not finished.

    The cases of a job stay together when the command is repeated, whatever is finished, so that a job that runs is
    found again.

    Args:
        execute: Carries tasks out.
        cases: All cases.
        done: Record of each case that was finished before; None for the others.
        told: States, model, folds, dataset, outputs and settings, as `outcomes_of` takes them.
    """
    states, *_, outputs, settings = told
    todo: dict[Chunk, list[Input]] = {}
    for start in range(0, len(cases), settings.cases_per_job):
        part = cases[start : start + settings.cases_per_job]
        unfinished = [case for case in part if done[case.name] is None]
        if unfinished:
            chunk = Chunk(outputs.folder, tuple(case.name for case in part), settings.processes)
            todo[chunk] = unfinished
            chunk.outcomes.unlink(missing_ok=True)
            put((chunk, unfinished, *told), chunk.file)
    execute(list(todo), 0, "job")
    for chunk, unfinished in todo.items():
        for case in unfinished:
            yield chunk.outcome_of(case.name, finished(case.name, outputs, states[case.name]))
