"""Cases on the workers of a cluster: one prepares a case, one with a GPU predicts, one writes what is asked for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from h2aseg_nnunet.petct.cases import ImageFiles
from h2aseg_nnunet.petct.dicom.inputs import Input
from h2aseg_nnunet.petct.nnunet.exports import Logits, preprocess
from h2aseg_nnunet.petct.nnunet.on_workers import Model, description_of, get, predictor_of, put, shelf
from h2aseg_nnunet.petct.parallel import Engine, Stage
from h2aseg_nnunet.petct.segment.finish import Outcome, Outputs, Predicted, attempt, finish


class _Job(NamedTuple):
    """A case on its way from worker to worker.

    Attributes:
        name: The case.
        case: The case.
        state: Everything its result depends on.
        shelf: Folder for arrays.
    """

    name: str
    case: Input
    state: Any
    shelf: Path

    @property
    def image(self) -> Path:
        """File of the preprocessed image."""
        return self.shelf / f"{self.name}.image"

    @property
    def predicted(self) -> Path:
        """File of the logits and what belongs to them."""
        return self.shelf / f"{self.name}.predicted"


def segment_on_workers(
    engine: Engine,
    model: Model,
    todo: Sequence[Input],
    states: Mapping[str, Any],
    prepare: Callable[[Input], Any],
    outputs: Outputs,
) -> Iterator[Outcome]:
    """Segment cases, as they are finished.

    Args:
        engine: The cluster.
        model: What the workers load.
        todo: The cases.
        states: Everything their results depend on, by name.
        prepare: Prepares and checks a case; returns the outcome of one that fails.
        outputs: What is written, and where; on shared storage, as are arrays on their way.
    """
    stages = [
        Stage(partial(_prepare, prepare=prepare, model=model)),
        Stage(partial(_predict, model=model, outputs=outputs), on_gpu=True),
        Stage(partial(_finish, outputs=outputs)),
    ]
    with shelf(outputs.folder) as arrays:
        jobs = [_Job(case.name, case, states[case.name], arrays) for case in todo]
        for _, outcome in engine.run(stages, jobs, lost=lambda job, why: Outcome(job.name, f"{why}.", {})):
            yield outcome


def _prepare(job: _Job, prepare: Callable[[Input], Any], model: Model) -> _Job | Outcome:
    checked = prepare(job.case)
    return checked if isinstance(checked, Outcome) else attempt(job.name, _preprocess, job, checked, model)


def _preprocess(job: _Job, checked: Any, model: Model) -> _Job:
    images = ImageFiles(job.name, list(checked.prepared.images))
    put((checked, *preprocess(description_of(model), images)), job.image)
    return job


def _predict(job: _Job | Outcome, model: Model, outputs: Outputs) -> _Job | Outcome:
    return job if isinstance(job, Outcome) else attempt(job.name, _predicted, job, model, outputs)


def _predicted(job: _Job, model: Model, outputs: Outputs) -> _Job:
    checked, data, properties = get(job.image)
    with predictor_of(model) as predictor:
        values = predictor.predict_logits_from_preprocessed_data(data)
        logits = Logits.of(predictor, values, properties, outputs.network_mask(job.name))
    put(Predicted(checked.prepared, logits, checked.findings, job.state), job.predicted)
    return job


def _finish(job: _Job | Outcome, outputs: Outputs) -> Outcome:
    if isinstance(job, Outcome):
        return job
    outcome: Outcome = attempt(job.name, lambda: finish(get(job.predicted), outputs))
    for file in (job.image, job.predicted):
        file.unlink(missing_ok=True)
    return outcome
