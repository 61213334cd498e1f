"""The predictions on the workers of a cluster: one preprocesses a case, one predicts, one writes the masks."""

import itertools
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from h2aseg_nnunet.petct.images.reading import read_case
from h2aseg_nnunet.petct.nnunet.exports import Logits, export, preprocess
from h2aseg_nnunet.petct.nnunet.models import modality_channels
from h2aseg_nnunet.petct.nnunet.on_workers import Model, description_of, get, predictor_of, put, shelf
from h2aseg_nnunet.petct.parallel import Engine, Stage
from h2aseg_nnunet.petct.robustness.predict import AlteredCase


class _Job(NamedTuple):
    """A case under all its conditions.

    Attributes:
        name: The case.
        wanted: Its conditions.
        image: File of the preprocessed image.
    """

    name: str
    wanted: tuple[AlteredCase, ...]
    image: Path

    def logits(self, altered: AlteredCase) -> Path:
        """File of the logits under one condition."""
        return self.image.with_name(f"{self.name}.{altered.condition.name}.logits")


def predict_on_workers(engine: Engine, model: Model, wanted: Sequence[AlteredCase], folder: Path) -> dict[str, str]:
    """Write the predictions; see `predict`.

    Args:
        engine: The cluster.
        model: What the workers load.
        wanted: What to predict; the conditions of one case are next to each other.
        folder: Folder on shared storage, in which arrays lie on their way.

    Returns:
        Names of the cases whose worker died again and again, and a sentence that says so. They have no prediction.
    """
    failed = {}
    stages = [
        Stage(partial(_preprocess, model=model)),
        Stage(partial(_predict, model=model), on_gpu=True),
        Stage(_export),
    ]
    with shelf(folder) as arrays, tqdm(desc="predictions", total=len(wanted)) as progress:
        groups = itertools.groupby(wanted, key=lambda altered: altered.case)
        jobs = [_Job(case.name, tuple(of_case), arrays / f"{case.name}.image") for case, of_case in groups]
        for job, why in engine.run(stages, jobs, lost=lambda job, why: why):
            progress.update(len(job.wanted))
            if why:
                failed[job.name] = why
                for altered in job.wanted:
                    altered.file.unlink(missing_ok=True)
    return failed


def _preprocess(job: _Job, model: Model) -> _Job:
    case = job.wanted[0].case
    read_case(case)  # complains, with a reason
    put(preprocess(description_of(model), case), job.image)
    return job


def _predict(job: _Job, model: Model) -> _Job:
    data, properties = get(job.image)
    with predictor_of(model) as predictor:
        channels = modality_channels(predictor)
        for altered in job.wanted:
            values = predictor.predict_logits_from_preprocessed_data(altered.condition.apply(data, channels))
            put(Logits.of(predictor, values, properties, altered.file), job.logits(altered))
    return job


def _export(job: _Job) -> None:
    for altered in job.wanted:
        export(get(job.logits(altered)))
    for file in (job.image, *map(job.logits, job.wanted)):
        file.unlink(missing_ok=True)
