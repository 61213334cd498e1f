"""From folders of references and predictions to the table that a challenge computes. Read this first."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.petct.evaluate import MISSING, PROTOCOLS
from h2aseg_nnunet.petct.evaluate.aggregate import aggregate
from h2aseg_nnunet.petct.evaluate.cases import EvaluatedCase, Pairing, pair_files, require_organs, require_pets
from h2aseg_nnunet.petct.evaluate.organs import liver_threshold, read_organs
from h2aseg_nnunet.petct.evaluate.protocol import CaseArrays, MetricSettings, Protocol, compared
from h2aseg_nnunet.petct.evaluate.protocols import find_protocol
from h2aseg_nnunet.petct.evaluate.read import find_mask_values, read_case
from h2aseg_nnunet.petct.evaluate.surface import hd95_mm, normalized_surface_dice, require_monai
from h2aseg_nnunet.petct.evaluate.uptake import tumor_burden
from h2aseg_nnunet.petct.images.masks import UNDECLARED, MaskValues
from h2aseg_nnunet.petct.parallel import in_parallel

PROBLEMS_IN_A_MESSAGE = 10


class Evaluation(NamedTuple):
    """Values of each case by name, undefined ones NaN, and figures of all of them."""

    cases: dict[str, dict[str, float]]
    aggregate: dict[str, Any]


class MeasuredCase(NamedTuple):
    """One case evaluated.

    Attributes:
        values: By name; undefined ones are NaN.
        unjudged: Number of voxels that were left out because nobody judged them.
        highest: Highest value of the two masks.
    """

    values: dict[str, float]
    unjudged: int
    highest: float


def evaluate_folders(
    reference_dir: str | Path,
    prediction_dir: str | Path | Sequence[str | Path],
    settings: MetricSettings,
    pet_dir: str | Path | None = None,
    missing: str | None = None,
    num_processes: int = 1,
    seed: int = 0,
    dataset_json: str | Path | None = None,
    organ_dir: str | Path | None = None,
) -> Evaluation:
    """Evaluate every reference that has a prediction of its name.

    Args:
        reference_dir: Folder of masks, one file per case.
        prediction_dir: Folder of masks of the same names; for interactive protocols one per step, in order.
        settings: What to compute.
        pet_dir: PET in SUV of every case, to add tumor volume, total lesion glycolysis and SUVmax.
        missing: One of `MISSING`; None for what the challenge calls for: "empty" for HECKTOR, "error" for the others.
        num_processes: Number of cases at the same time.
        seed: Seed of the bootstrap.
        dataset_json: Declares the values of all masks; None to look for it beside references and predictions.
        organ_dir: Organ map of every case, for "clinical".

    Raises:
        UserError: If settings, folders or files do not fit (all cases with a problem are named), MONAI is needed and
            not installed, or a process is killed.
    """
    several = isinstance(prediction_dir, Sequence) and not isinstance(prediction_dir, str)
    steps = list(map(Path, prediction_dir)) if several else [Path(prediction_dir)]  # type: ignore[arg-type]
    pet, organs = (None if folder is None else Path(folder) for folder in (pet_dir, organ_dir))
    _check(settings, missing, num_processes, seed)
    protocol = find_protocol(settings.protocol)
    _check_inputs(settings, protocol, len(steps), pet, organs)
    missing = missing or protocol.missing
    pairing = pair_files(Path(reference_dir), steps[-1], pet, steps[:-1], organs)
    chosen = _choose(pairing, missing, steps)
    if pet is not None:
        require_pets(chosen, pet)
    if organs is not None:
        require_organs(chosen, organs)
    mask_values = find_mask_values(Path(reference_dir), steps[-1], settings.protocol, dataset_json)
    cases = _evaluate_cases(chosen, settings, mask_values, num_processes)
    about = {
        "metrics": settings.protocol,
        "num_cases": len(cases),
        **({"num_steps": len(steps)} if protocol.steps else {}),
        "missing_predictions": pairing.missing_predictions,
        "missing_counted_as": missing if pairing.missing_predictions else None,
        "extra_predictions": pairing.extra_predictions,
    }
    by_name = _same_columns({name: case.values for name, case in cases.items()})
    about |= _about_values(cases, mask_values)
    return Evaluation(by_name, about | aggregate(settings.protocol, list(by_name.values()), seed))


def evaluate_case(case: EvaluatedCase, settings: MetricSettings, mask_values: MaskValues = UNDECLARED) -> MeasuredCase:
    """Evaluate one case.

    Raises:
        UserError: If a file cannot be read or does not fit the others (the message names it), or MONAI is needed and
            not installed.
    """
    protocol = find_protocol(settings.protocol)
    arrays = read_case(case, protocol.resamples, mask_values)
    if arrays.unjudged and (settings.tolerance_mm is not None or protocol.surface):
        remedy = "Leave --surface out." if settings.tolerance_mm is not None else "Choose other metrics."
        raise UserError(
            f"{case.reference} has {arrays.unjudged} voxels of the ignore label: distances between surfaces are not "
            f"defined where nobody judged. {remedy}"
        )
    highest = max(float(mask.max(initial=0)) for mask in (arrays.reference, *arrays.predictions))
    arrays = _with_liver(arrays, settings).cropped()
    values = protocol.measure(arrays, settings)
    if arrays.suv is not None:
        values |= _burden(arrays, arrays.suv)
    if settings.tolerance_mm is not None:
        values |= _surface(arrays, protocol, settings.tolerance_mm)
    return MeasuredCase(values, arrays.unjudged, highest)


def _choose(pairing: Pairing, missing: str, steps: Sequence[Path]) -> list[EvaluatedCase]:
    """The cases to evaluate, by what is to be done about missing predictions."""
    absent = pairing.missing_predictions
    if absent and missing == "error":
        raise UserError(
            f"{len(absent)} of {len(pairing.cases)} references have no prediction in {listing(list(map(str, steps)))}: "
            f"{listing(absent)}. Predict them, or choose: --missing empty counts them as empty predictions, "
            "--missing skip leaves them out."
        )
    return [case for case in pairing.cases if case.name not in absent or missing == "empty"]


def _same_columns(cases: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Give every case the columns that any has: an organ that a case's tumor does not touch holds 0 ml of it."""
    columns = dict.fromkeys(column for values in cases.values() for column in values)
    return {name: {column: values.get(column, 0.0) for column in columns} for name, values in cases.items()}


def _with_liver(arrays: CaseArrays, settings: MetricSettings) -> CaseArrays:
    """Measure the healthy liver, which may lie far from all tumor."""
    if arrays.organs is None or arrays.suv is None:
        return arrays
    liver = np.isin(arrays.organs, read_organs(settings.organ_labels).get("liver", ()))
    healthy = liver & (arrays.reference == 0)
    return arrays._replace(liver_suv=liver_threshold(arrays.suv, healthy, arrays.spacing_mm))


def _about_values(cases: dict[str, MeasuredCase], mask_values: MaskValues) -> dict[str, Any]:
    """Say what was left out, and what counted as tumor without being declared."""
    declared = mask_values.reference
    if declared is not None and declared.labels.ignore is not None:
        unjudged = [name for name, case in cases.items() if case.unjudged]
        return {"ignore_label": declared.labels.ignore, "unjudged_cases": unjudged}
    highest = max(case.highest for case in cases.values())
    return {"undeclared_values_up_to": int(highest)} if declared is None and highest > 1 else {}


def _burden(arrays: CaseArrays, suv: NDArray) -> dict[str, float]:
    masks = arrays.reference, arrays.prediction
    reference, prediction = (tumor_burden(mask, suv, arrays.spacing_mm) for mask in masks)
    values: dict[str, float] = {}
    for name in ("tmtv_ml", "tlg", "suv_max"):
        values |= compared(name, getattr(reference, name), getattr(prediction, name))
    return values


def _surface(arrays: CaseArrays, protocol: Protocol, tolerance_mm: float) -> dict[str, float]:
    values = {}
    for suffix, reference, prediction in protocol.mask_pairs(arrays):
        masks = (reference, prediction, arrays.spacing_mm)
        values[f"hd95_mm{suffix}"] = hd95_mm(*masks)
        values[f"nsd_{tolerance_mm:g}mm{suffix}"] = normalized_surface_dice(*masks, tolerance_mm=tolerance_mm)
    return values


def _check(settings: MetricSettings, missing: str | None, num_processes: int, seed: int) -> None:
    """Refuse what would fail only after minutes."""
    if settings.protocol not in PROTOCOLS:
        raise UserError(f"metrics must be one of {', '.join(PROTOCOLS)}, not {settings.protocol!r}.")
    if missing not in (None, *MISSING):
        raise UserError(f"missing must be one of {', '.join(MISSING)}, not {missing!r}.")
    if num_processes < 1:
        raise UserError(f"-np {num_processes}: 1 or more processes are expected.")
    if seed < 0:
        raise UserError(f"--seed {seed}: 0 or more is expected.")
    if settings.minimum_iou is not None:
        if settings.protocol != "lesion":
            raise UserError(f"--iou decides nothing for {settings.protocol}: leave it out, or choose --metrics lesion.")
        if not 0 < settings.minimum_iou <= 1:
            raise UserError(f"--iou {settings.minimum_iou:g}: a number above 0 and up to 1 is expected.")
    if settings.tolerance_mm is not None:
        if not 0 <= settings.tolerance_mm < math.inf:
            raise UserError(f"--surface {settings.tolerance_mm:g}: a tolerance of 0 mm or more is expected.")
        require_monai()


def _check_inputs(
    settings: MetricSettings, protocol: Protocol, num_steps: int, pet: Path | None, organs: Path | None
) -> None:
    """Refuse folders that a protocol cannot use, and the lack of those it needs."""
    name = settings.protocol
    if protocol.steps and num_steps < 2:
        raise UserError(f"--metrics {name} compares interaction steps: name their folders in order, -p STEP_0 STEP_1.")
    if not protocol.steps and num_steps != 1:
        raise UserError(f"--metrics {name} takes one folder of predictions, not {num_steps}.")
    if protocol.needs_suv and pet is None:
        raise UserError(f"--metrics {name} measures uptake: name the folder of PET in SUV with --suv.")
    if organs is not None:
        if name != "clinical":
            raise UserError(f"--organs decides nothing for {name}: leave it out, or choose --metrics clinical.")
        read_organs(settings.organ_labels)


def _evaluate_cases(
    cases: list[EvaluatedCase], settings: MetricSettings, mask_values: MaskValues, num_processes: int
) -> dict[str, MeasuredCase]:
    """Evaluate every case before problems are raised, so that all can be mended at once."""
    work = partial(_attempt, settings=settings, mask_values=mask_values)
    outcomes = in_parallel(work, cases, num_processes, lost=lambda case, why: UserError(f"{case.name}: {why}."))
    by_name = {case.name: outcome for case, outcome in tqdm(outcomes, settings.protocol, len(cases), unit="case")}
    ordered = {case.name: by_name[case.name] for case in cases}
    problems = [str(outcome) for outcome in ordered.values() if isinstance(outcome, UserError)]
    if len(problems) == 1:
        raise UserError(problems[0])
    if problems:
        shown = [f"\n  {problem}" for problem in problems[:PROBLEMS_IN_A_MESSAGE]]
        more = len(problems) - len(shown)
        shown += [f"\n  and {more} more"] if more else []
        raise UserError(f"{len(problems)} of {len(cases)} cases cannot be evaluated:{''.join(shown)}")
    return {name: outcome for name, outcome in ordered.items() if not isinstance(outcome, UserError)}


def _attempt(case: EvaluatedCase, settings: MetricSettings, mask_values: MaskValues) -> MeasuredCase | UserError:
    try:
        return evaluate_case(case, settings, mask_values)
    except UserError as error:
        return error
