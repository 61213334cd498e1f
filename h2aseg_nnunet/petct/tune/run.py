"""From the cross-validation of a model to a rule, or to none."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from tqdm import tqdm

from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.petct.evaluate.cases import EvaluatedCase
from h2aseg_nnunet.petct.images.grids import require_same_grid
from h2aseg_nnunet.petct.images.masks import MaskValues, leave_out_unjudged, read_mask
from h2aseg_nnunet.petct.images.reading import read_image
from h2aseg_nnunet.petct.nnunet.dataset_json import NAME, declared_by, read_dataset_json
from h2aseg_nnunet.petct.nnunet.models import find_folds
from h2aseg_nnunet.petct.parallel import in_parallel
from h2aseg_nnunet.petct.postprocess.reading import liver_of, softmax_file
from h2aseg_nnunet.petct.postprocess.regions import Predicted
from h2aseg_nnunet.petct.postprocess.rules import Rule, outlines_of
from h2aseg_nnunet.petct.postprocess.rules_file import identify
from h2aseg_nnunet.petct.postprocess.softmax import has_regions, read_tumor_probability, require_of_mask
from h2aseg_nnunet.petct.tune.candidates import Families, all_rules, make_families
from h2aseg_nnunet.petct.tune.cases import find_cases, find_folders, patients_of, remarks_on
from h2aseg_nnunet.petct.tune.measure import CaseTable, measure_case
from h2aseg_nnunet.petct.tune.select import Selection, select
from h2aseg_nnunet.petct.tune.values import tabulate

LEAST_PATIENTS = 10


class Settings(NamedTuple):
    """What to fit, and to what.

    Attributes:
        metric: One of `METRICS`.
        folds: Folds of the model; empty for all that are trained.
        checkpoint: Name of the checkpoint that was validated.
        families: Names of the families to try; empty for all.
        even_if_uncertain: Whether to choose a rule whose gain has an interval that includes 0.
        references, suv, organs: Folders; None for those of the raw dataset, and for no organ maps.
        organ_labels: Whose organ maps.
        patients: Table with the columns case and patient; None for conversion.json, if there is one.
        seed: Seed of the divisions of the patients, and of the bootstrap.
        processes: Number of cases at the same time.
    """

    metric: str = "autopet"
    folds: tuple[str, ...] = ()
    checkpoint: str = "checkpoint_final.pth"
    families: tuple[str, ...] = ()
    even_if_uncertain: bool = False
    references: Path | None = None
    suv: Path | None = None
    organs: Path | None = None
    organ_labels: str = "totalsegmentator"
    patients: Path | None = None
    seed: int = 0
    processes: int = 1


class Tuned(NamedTuple):
    """What was fitted.

    Attributes:
        model: What tells the model from others.
        selection: The rule, or none, and what each family gains.
        metric: The metric.
        num_cases, num_patients: On how many.
        remarks: What a user should know.
    """

    model: dict[str, Any]
    selection: Selection
    metric: str
    num_cases: int
    num_patients: int
    remarks: list[str]


DEFAULTS = Settings()


def tune(model: str | Path, settings: Settings = DEFAULTS) -> Tuned:
    """Fit rules on the validation cases of a model of any nnU-Net trainer.

    Args:
        model: nnU-Net's results folder of the model, validated with --npz.
        settings: What to fit.

    Raises:
        UserError: If files are missing or do not fit, or there are fewer than `LEAST_PATIENTS` patients.
    """
    if settings.seed < 0:
        raise UserError(f"--seed {settings.seed}: 0 or more is expected.")
    folder = Path(model).absolute()
    folds = find_folds(folder, settings.folds, settings.checkpoint)
    folders = find_folders(folder, settings.references, settings.suv, settings.organs, settings.patients)
    cases = find_cases(folder, folds, folders)
    patient_of = patients_of([case.name for case in cases], folders.patients)
    _require_patients(set(patient_of.values()), folds)
    families = _chosen(make_families(settings.organs is not None), settings.families)
    tables = _measure(cases, all_rules(families), folder / NAME, settings)
    values = tabulate(tables, all_rules(families), patient_of, settings.metric)
    selection = select(values, families, settings.even_if_uncertain, settings.seed)
    remarks = [] if folders.patients else ["Nothing tells the patients: every case counts as one (--patients TABLE)."]
    remarks += remarks_on(cases, patient_of)
    identity = identify(folder, folds, settings.checkpoint)
    return Tuned(identity, selection, settings.metric, len(cases), len(values.patients), remarks)


def _require_patients(patients: set[str], folds: Sequence[str]) -> None:
    if len(patients) < LEAST_PATIENTS:
        raise UserError(
            f"{len(patients)} patients in fold {', '.join(folds)}: at least {LEAST_PATIENTS} are needed to tell what a "
            "rule gains on patients that it was not fitted on."
        )


def _chosen(families: Families, names: Sequence[str]) -> Families:
    unknown = [name for name in names if name not in families]
    if unknown:
        raise UserError(f"--families {listing(unknown)}: expected are some of {', '.join(families)}.")
    return {name: families[name] for name in names} if names else families


def _measure(
    cases: Sequence[EvaluatedCase], rules: Sequence[Rule], description: Path, settings: Settings
) -> dict[str, CaseTable]:
    """The table of each case; every case is tried before problems are raised."""
    work = partial(_attempt, rules=rules, description=description, organ_labels=settings.organ_labels)
    outcomes = in_parallel(work, cases, settings.processes)
    by_name = {case.name: outcome for case, outcome in tqdm(outcomes, "Measuring", len(cases), unit="case")}
    problems = [str(outcome) for outcome in by_name.values() if isinstance(outcome, UserError)]
    if problems:
        more = f" (and {len(problems) - 1} more of {len(cases)} cases)" if len(problems) > 1 else ""
        raise UserError(f"{problems[0]}{more}")
    return {case.name: by_name[case.name] for case in cases}


def _attempt(case: EvaluatedCase, rules: Sequence[Rule], description: Path, organ_labels: str) -> CaseTable | UserError:
    try:
        predicted, reference = read_validated(case, description, organ_labels)
    except UserError as error:
        return error
    return measure_case(predicted, reference, outlines_of(rules))


def read_validated(case: EvaluatedCase, description: Path, organ_labels: str) -> tuple[Predicted, NDArray[np.bool_]]:
    """Read a validation case: prediction with probabilities and PET, and reference; voxels nobody judged are neither.

    Raises:
        UserError: If a file cannot be read, or they are not on one grid.
    """
    assert case.prediction is not None and case.pet is not None
    declared = declared_by(description)
    mask, reference, pet = (
        read_mask(case.prediction, declared),
        read_mask(case.reference, declared),
        read_image(case.pet),
    )
    for file, image in ((case.reference, reference), (case.pet, pet)):
        require_same_grid(file, image, case.prediction, mask, "Bring it onto the prediction's grid.")
    suv = SimpleITK.GetArrayFromImage(pet)
    labels, truth = SimpleITK.GetArrayFromImage(mask), SimpleITK.GetArrayFromImage(reference)
    softmax = softmax_file(case.prediction)
    probability = read_tumor_probability(softmax, has_regions(read_dataset_json(description)))
    require_of_mask(probability, labels != 0, softmax, case.prediction)
    liver_suv = liver_of(case.organs, mask, suv, labels != 0, organ_labels) if case.organs is not None else math.nan
    if declared.labels.ignore is not None:
        probability = np.where(truth == declared.labels.ignore, 0, probability)
        suv = np.where(truth == declared.labels.ignore, 0, suv)
    leave_out_unjudged(truth, labels, MaskValues(declared, declared))
    return Predicted(labels != 0, mask.GetSpacing()[::-1], suv, probability, liver_suv), truth != 0
