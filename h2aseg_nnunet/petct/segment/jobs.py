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
from h2aseg_nnunet.petct.segment.finish import Outcome


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


def segment_in_jobs(
    execute: Execute, cases: Sequence[Input], done: Mapping[str, Any], chunk: Chunk, size: int, told: Sequence[Any]
) -> Iterator[Outcome]:
    """Segment cases in jobs, and yield those that were refused.

    The cases of a job stay together when the command is repeated, whatever is finished, so that a job that runs is
    found again.

    Args:
        execute: Carries tasks out.
        cases: All cases.
        done: Those that are finished.
        chunk: Any chunk of the output folder.
        size: Number of cases in a job.
        told: What `_outcomes` needs beside the cases.
    """
    chunks = []
    for start in range(0, len(cases), size):
        part = cases[start : start + size]
        if any(case.name not in done for case in part):
            chunks.append(chunk._replace(names=tuple(case.name for case in part)))
            put((chunks[-1], [case for case in part if case.name not in done], *told), chunks[-1].file)
            chunks[-1].outcomes.unlink(missing_ok=True)
    execute(chunks, 0, "job")
    for each in chunks:
        for name, (refused, trace) in (read_own_json(each.outcomes) or {}).items():
            yield Outcome(name, refused, {}, trace)
