"""From folders of references and predictions to the table that a challenge computes. Read this first."""

import math
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray
from tqdm import tqdm

from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.petct.evaluate import MISSING, PROTOCOLS
from h2aseg_nnunet.petct.evaluate.cases import (
    CaseArrays,
    EvaluatedCase,
    find_mask_values,
    pair_files,
    read_case,
    require_pets,
)
from h2aseg_nnunet.petct.evaluate.protocols import HECKTOR, aggregate, mask_pairs, measure
from h2aseg_nnunet.petct.evaluate.surface import hd95_mm, normalized_surface_dice, require_monai
from h2aseg_nnunet.petct.evaluate.uptake import tumor_burden
from h2aseg_nnunet.petct.images.masks import UNDECLARED, MaskValues
from h2aseg_nnunet.petct.parallel import in_parallel

PROBLEMS_IN_A_MESSAGE = 10


class MetricSettings(NamedTuple):
    """What is computed of each case.

    Attributes:
        protocol: One of `PROTOCOLS`.
        minimum_iou: Overlap that finds a lesion, for "lesion": see `detect`.
        tolerance_mm: Add HD95 and the normalized surface Dice at this tolerance; None for neither.
    """

    protocol: str
    minimum_iou: float | None = None
    tolerance_mm: float | None = None


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
    prediction_dir: str | Path,
    settings: MetricSettings,
    pet_dir: str | Path | None = None,
    missing: str | None = None,
    num_processes: int = 1,
    seed: int = 0,
    dataset_json: str | Path | None = None,
) -> Evaluation:
    """Evaluate every reference that has a prediction of its name.

    Args:
        reference_dir: Folder of masks, one file per case.
        prediction_dir: Folder of masks of the same names.
        settings: What to compute.
        pet_dir: PET in SUV of every case, to add tumor volume, total lesion glycolysis and SUVmax.
        missing: One of `MISSING`; None for what the challenge calls for: "empty" for HECKTOR, "error" for the others.
        num_processes: Number of cases at the same time.
        seed: Seed of the bootstrap.
        dataset_json: Declares the values of all masks; None to look for it beside references and predictions.

    Raises:
        UserError: If settings, folders or files do not fit (all cases with a problem are named), MONAI is needed and
            not installed, or a process is killed.
    """
    _check(settings, missing, num_processes, seed)
    missing = missing or ("empty" if settings.protocol in HECKTOR else "error")
    pairing = pair_files(Path(reference_dir), Path(prediction_dir), None if pet_dir is None else Path(pet_dir))
    absent = pairing.missing_predictions
    if absent and missing == "error":
        raise UserError(
            f"{len(absent)} of {len(pairing.cases)} references have no prediction in {prediction_dir}: "
            f"{listing(absent)}. Predict them, or choose: --missing empty counts them as empty predictions, "
            "--missing skip leaves them out."
        )
    chosen = [case for case in pairing.cases if case.prediction or missing == "empty"]
    if pet_dir is not None:
        require_pets(chosen, Path(pet_dir))
    mask_values = find_mask_values(Path(reference_dir), Path(prediction_dir), settings.protocol, dataset_json)
    cases = _evaluate_cases(chosen, settings, mask_values, num_processes)
    about = {
        "metrics": settings.protocol,
        "num_cases": len(cases),
        "missing_predictions": absent,
        "missing_counted_as": missing if absent else None,
        "extra_predictions": pairing.extra_predictions,
    }
    by_name = {name: case.values for name, case in cases.items()}
    about |= _about_values(cases, mask_values)
    return Evaluation(by_name, about | aggregate(settings.protocol, list(by_name.values()), seed))


def evaluate_case(case: EvaluatedCase, settings: MetricSettings, mask_values: MaskValues = UNDECLARED) -> MeasuredCase:
    """Evaluate one case.

    Raises:
        UserError: If a file cannot be read or does not fit the others (the message names it), or MONAI is needed and
            not installed.
    """
    arrays = read_case(case, settings.protocol in HECKTOR, mask_values)
    if arrays.unjudged and settings.tolerance_mm is not None:
        raise UserError(
            f"{case.reference} has {arrays.unjudged} voxels of the ignore label: distances between surfaces are not "
            "defined where nobody judged. Leave --surface out."
        )
    values = measure(
        settings.protocol, arrays.reference, arrays.prediction, arrays.spacing_mm, minimum_iou=settings.minimum_iou
    )
    if arrays.suv is not None:
        values |= _burden(arrays, arrays.suv)
    if settings.tolerance_mm is not None:
        values |= _surface(arrays, settings.protocol, settings.tolerance_mm)
    highest = max(float(mask.max(initial=0)) for mask in (arrays.reference, arrays.prediction))
    return MeasuredCase(values, arrays.unjudged, highest)


def _about_values(cases: dict[str, MeasuredCase], mask_values: MaskValues) -> dict[str, Any]:
    """Say what was left out, and what counted as tumor without being declared."""
    declared = mask_values.reference
    if declared is not None and declared.labels.ignore is not None:
        unjudged = [name for name, case in cases.items() if case.unjudged]
        return {"ignore_label": declared.labels.ignore, "unjudged_cases": unjudged}
    highest = max(case.highest for case in cases.values())
    return {"undeclared_values_up_to": int(highest)} if declared is None and highest > 1 else {}


def _burden(arrays: CaseArrays, suv: NDArray) -> dict[str, float]:
    reference, prediction = (
        tumor_burden(mask, suv, arrays.spacing_mm) for mask in (arrays.reference, arrays.prediction)
    )
    values = {}
    for name, of_reference, of_prediction in zip(reference._fields, reference, prediction, strict=True):
        values[f"{name}_reference"] = of_reference
        values[f"{name}_prediction"] = of_prediction
        values[f"{name}_difference"] = of_prediction - of_reference
    return values


def _surface(arrays: CaseArrays, protocol: str, tolerance_mm: float) -> dict[str, float]:
    values = {}
    for suffix, reference, prediction in mask_pairs(protocol, arrays.reference, arrays.prediction):
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
