"""Segments some cases in a process of its own: `python -m h2aseg_nnunet.petct.segment.chunk FILE`."""

import sys
from pathlib import Path

from tqdm import tqdm

from h2aseg_nnunet.petct.files import marking_files
from h2aseg_nnunet.petct.nnunet.on_workers import get
from h2aseg_nnunet.petct.segment.finish import Outcome, finished
from h2aseg_nnunet.petct.segment.run import outcomes_of


def carry_out(file: Path) -> None:
    """Segment the cases that are not finished; those that are refused are written beside `file`."""
    chunk, cases, states, model, folds, dataset, outputs, settings = get(file)
    todo = [case for case in cases if finished(case.name, outputs, states[case.name]) is None]
    refused: list[Outcome] = []
    bar = tqdm(total=len(cases), initial=len(cases) - len(todo), desc="Segmenting", unit="case")
    with marking_files(), bar:
        for outcome in outcomes_of(todo, states, model, folds, dataset, outputs, settings):
            if outcome.refused:
                refused.append(outcome)
                bar.write(f"{outcome.name} REFUSED: {outcome.refused}")
            bar.update()
    chunk.write_refused(refused)


if __name__ == "__main__":
    carry_out(Path(sys.argv[1]))
