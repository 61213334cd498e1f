"""From folders of references and predictions to the table that a challenge computes."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray
from tqdm import tqdm

from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.petct.evaluate.aggregate import aggregate
from h2aseg_nnunet.petct.evaluate.case import CaseArrays, read_case
from h2aseg_nnunet.petct.evaluate.metrics import HECKTOR_LABELS
from h2aseg_nnunet.petct.evaluate.pairing import CaseFiles, pair_files, require_pets
from h2aseg_nnunet.petct.evaluate.protocols import HECKTOR, PROTOCOLS, mask_pairs, measure
from h2aseg_nnunet.petct.evaluate.surface import hd95_mm, normalized_surface_dice, require_monai
from h2aseg_nnunet.petct.evaluate.uptake import tumor_burden
from h2aseg_nnunet.petct.parallel import in_parallel

MISSING = ("error", "empty", "skip")
"""What to do about references without a prediction: refuse, count as an empty prediction, or leave out."""

PROBLEMS_IN_A_MESSAGE = 10


class Settings(NamedTuple):
    """What is computed of each case.

    Attributes:
        protocol: One of `PROTOCOLS`.
        minimum_iou: For "lesion": see `detect`.
        tolerance_mm: Add HD95 and the normalised surface Dice at this tolerance; None for neither.
    """

    protocol: str
    minimum_iou: float | None = None
    tolerance_mm: float | None = None


class Evaluation(NamedTuple):
    """Values of each case by name, undefined ones NaN, and figures of all of them."""

    cases: dict[str, dict[str, float]]
    aggregate: dict[str, Any]


def evaluate_folders(
    reference_dir: str | Path,
    prediction_dir: str | Path,
    settings: Settings,
    pet_dir: str | Path | None = None,
    missing: str | None = None,
    num_processes: int = 1,
    seed: int = 0,
) -> Evaluation:
    """Evaluate every reference that has a prediction of its name.

    Args:
        reference_dir: Masks, one file per case.
        prediction_dir: Masks of the same names.
        settings: What to compute.
        pet_dir: PET in SUV of every case, to add tumour volume, total lesion glycolysis and SUVmax.
        missing: One of `MISSING`; None for what the challenge calls for: "empty" for HECKTOR, "error" for the others.
        num_processes: Cases at the same time.
        seed: Of the bootstrap.

    Raises:
        UserError: If settings, folders or files do not fit; all cases with a problem are named.
        RuntimeError: If MONAI is needed and not installed, or a process is killed.
    """
    _check(settings, missing, num_processes)
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
    cases = _evaluate_cases(chosen, settings, num_processes)
    about = {
        "metrics": settings.protocol,
        "num_cases": len(cases),
        "missing_predictions": absent,
        "missing_counted_as": missing if absent else None,
        "extra_predictions": pairing.extra_predictions,
    }
    return Evaluation(cases, about | aggregate(settings.protocol, list(cases.values()), seed))


def evaluate_case(case: CaseFiles, settings: Settings) -> dict[str, float]:
    """Values of one case.

    Raises:
        UserError: If a file cannot be read or does not fit the others; the message names it.
        RuntimeError: If MONAI is needed and not installed.
    """
    hecktor = settings.protocol in HECKTOR
    arrays = read_case(case, resample_prediction=hecktor, labels=(0, *HECKTOR_LABELS.values()) if hecktor else None)
    values = measure(settings.protocol, *arrays[:3], minimum_iou=settings.minimum_iou)
    if arrays.suv is not None:
        try:
            values |= _burden(arrays, arrays.suv)
        except ValueError as error:
            raise UserError(f"{case.pet} and the masks of {case.name}: {error}") from error
    if settings.tolerance_mm is not None:
        values |= _surface(arrays, settings.protocol, settings.tolerance_mm)
    return values


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


def _check(settings: Settings, missing: str | None, num_processes: int) -> None:
    """Refuse what would fail only after minutes."""
    if settings.protocol not in PROTOCOLS:
        raise UserError(f"metrics must be one of {', '.join(PROTOCOLS)}, not {settings.protocol!r}.")
    if missing not in (None, *MISSING):
        raise UserError(f"missing must be one of {', '.join(MISSING)}, not {missing!r}.")
    if num_processes < 1:
        raise UserError(f"the number of processes must be 1 or more, not {num_processes}.")
    if settings.minimum_iou is not None:
        if settings.protocol != "lesion":
            raise UserError(f"an IoU decides nothing for {settings.protocol}: leave it out, or choose lesion.")
        if not 0 < settings.minimum_iou <= 1:
            raise UserError(f"the IoU must be above 0 and at most 1, not {settings.minimum_iou:g}.")
    if settings.tolerance_mm is not None:
        if not 0 <= settings.tolerance_mm < float("inf"):
            raise UserError(f"the surface tolerance must be 0 mm or more, not {settings.tolerance_mm:g}.")
        require_monai()


def _evaluate_cases(cases: list[CaseFiles], settings: Settings, num_processes: int) -> dict[str, dict[str, float]]:
    """Values by name; every case is tried before problems are raised, so that all can be mended at once."""
    outcomes = in_parallel(partial(_attempt, settings=settings), cases, num_processes)
    by_name = {case.name: outcome for case, outcome in tqdm(outcomes, settings.protocol, len(cases), unit="case")}
    ordered = {case.name: by_name[case.name] for case in cases}
    problems = [str(outcome) for outcome in ordered.values() if isinstance(outcome, ValueError)]
    if len(problems) == 1:
        raise UserError(problems[0])
    if problems:
        shown = [f"\n  {problem}" for problem in problems[:PROBLEMS_IN_A_MESSAGE]]
        more = len(problems) - len(shown)
        shown += [f"\n  and {more} more"] if more else []
        raise UserError(f"{len(problems)} of {len(cases)} cases cannot be evaluated:{''.join(shown)}")
    return {name: outcome for name, outcome in ordered.items() if not isinstance(outcome, ValueError)}


def _attempt(case: CaseFiles, settings: Settings) -> dict[str, float] | ValueError:
    try:
        return evaluate_case(case, settings)
    except ValueError as error:
        return error
