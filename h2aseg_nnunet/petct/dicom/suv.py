"""SUVbw: what the stored activity of every slice is multiplied with, as the vendors mean it. No guess is made.

SUVbw = activity (Bq/ml) x weight (g) / injected dose (Bq), with both activities brought to one time:

- DecayCorrection START: the activity is that at a reference time of the series; the dose is decayed to it. The
  reference time is, in this order: Decay Correction DateTime; Siemens' or GE's private time of the scan; the series'
  time, unless the series was written after the acquisition; the acquisition of a slice, put back by its frame's
  reference time; the earliest acquisition.
- DecayCorrection ADMIN: the activity is that at injection; the dose is taken as it is.
- DecayCorrection NONE: the activity is that of the slice's own time; the dose is decayed to it.

Philips' counts (CNTS) come with a factor to SUVbw (7053,1000) or to Bq/ml (7053,1009). GML is SUVbw already.

References:
    DICOM PS3.3 C.8.9.1; QIBA's FDG-PET/CT profile, appendix G, and its pseudo-code for vendor-neutral SUV.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from pydicom.dataset import Dataset

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.dicom.decay import (
    Given,
    injection_time,
    mean_time,
    reference_time,
    share_left,
    supply,
)
from h2aseg_nnunet.petct.dicom.enhanced import contradicts
from h2aseg_nnunet.petct.dicom.nuclides import is_half_life, nuclide_of
from h2aseg_nnunet.petct.dicom.series import Series, Slice
from h2aseg_nnunet.petct.dicom.values import number, private_value, text_of, value_of

PLAUSIBLE_WEIGHT_KG = (0.5, 400.0)
PLAUSIBLE_DOSE_BQ = (1e6, 2e10)
PHILIPS = "PHILIPS PET"
NOTHING_GIVEN = Given()


class SUV(NamedTuple):
    """How a PET series becomes SUVbw.

    Attributes:
        factors: What the rescaled value of every slice is multiplied with.
        record: Every value and assumption that went into it, for the study's JSON.
    """

    factors: list[float]
    record: dict[str, Any]


def suv_factors(series: Series, slices: Sequence[Slice], study: str, given: Given = NOTHING_GIVEN) -> SUV:
    """Compute the factor of every slice.

    Args:
        series: PET, corrected for attenuation.
        slices: Its slices, in the order wanted.
        study: Name of the study, for messages.
        given: What the user supplies.

    Raises:
        UserError: If a value is missing or cannot be right; the message names the tag, the value and the option.
    """
    header, units = series.header, series.units
    supplied = {name: str(value) for name, value in given._asdict().items() if value is not None}
    record: dict[str, Any] = {"units": units, "given": supplied, "assumptions": []}
    _refuse_two_scales(slices, study, record["assumptions"])
    if units == "GML":
        _require_body_weight(header, study, record["assumptions"])
        _refuse_useless(given, "Units (0054,1001) is GML, SUV already", study)
        return SUV([1.0] * len(slices), record)
    scale = 1.0
    if units == "CNTS":
        to_suv, scale = (_philips_factor(header, element, study) for element in (0x00, 0x09))
        if to_suv and not (scale and supplied):  # what the user supplies is not in the scanner's factor
            _refuse_useless(given, "Philips' factor to SUV (7053,1000) holds weight and dose already", study)
            return SUV([to_suv] * len(slices), record | {"philips_suv_scale_factor": to_suv})
        if not scale:
            raise UserError(
                f"{study}: PET in counts (Units CNTS) without Philips' factors (7053,1000) and (7053,1009): SUV cannot "
                "be computed. Export the PET with private tags, or in Bq/ml."
            )
        record["philips_activity_scale_factor"] = scale
    elif units != "BQML":
        raise UserError(f"{study}: Units (0054,1001) is {units or 'missing'}; expected is BQML, CNTS (Philips) or GML.")
    return _of_activity(series, slices, study, given, scale, record)


def _of_activity(
    series: Series, slices: Sequence[Slice], study: str, given: Given, scale: float, record: dict[str, Any]
) -> SUV:
    """The factors of a PET in Bq/ml, up to `scale`."""
    header, assumptions = series.header, record["assumptions"]
    drug = _drug(header, study)
    weight_kg, dose_bq, half_life_s = _weight(header, study, given), _dose(drug, study, given), _half_life(drug, study)
    correction = text_of(header, "DecayCorrection").upper()
    if not correction and value_of(header, "DecayCorrectionDateTime"):
        correction = "START"
    record |= {
        "weight_kg": weight_kg,
        "dose_bq": dose_bq,
        "half_life_s": half_life_s,
        "decay_correction": correction,
    }
    per_bq = scale * weight_kg * 1000 / dose_bq
    if correction == "ADMIN":
        return SUV([per_bq] * len(slices), record)
    if correction == "START":
        reference, rule = reference_time(series, slices, half_life_s, study, given, assumptions)
        times = [reference] * len(slices)
    elif correction == "NONE":
        times = [mean_time(each, half_life_s, study) for each in slices]
        reference, rule = min(times), "each slice's own"
        if "DECY" in text_of(header, "CorrectedImage").upper():
            assumptions.append("DecayCorrection NONE counts, although CorrectedImage has DECY")
    else:
        raise UserError(
            f"{study}: DecayCorrection (0054,1102) is {correction or 'missing'}; expected is START, ADMIN or NONE."
        )
    injected = injection_time(header, drug, reference, half_life_s, study, given, assumptions)
    record |= {"injected": str(injected), "reference_time": str(reference), "reference_rule": rule}
    return SUV([per_bq / share_left(injected, time, half_life_s, study) for time in times], record)


def _refuse_two_scales(slices: Sequence[Slice], study: str, assumptions: list[str]) -> None:
    """Rescaling and real world values of enhanced images should agree."""
    odd = next((each for each in slices if contradicts(each.slope, each.intercept, each.world)), None)
    if odd is None or odd.world is None:
        return
    said = f"RescaleSlope (0028,1053) is {odd.slope:g}, RealWorldValueSlope (0040,9225) {odd.world.slope:g}"
    if len({each.slope for each in slices}) == 1 or any(each.world != odd.world for each in slices):
        raise UserError(f"{study}: {said}, in {odd.file}: one of them is wrong. Export the series again.")
    assumptions.append(f"{said}: as only the former differs between slices, it counts")


def _require_body_weight(header: Dataset, study: str, assumptions: list[str]) -> None:
    kind = text_of(header, "SUVType").upper()
    if kind not in ("", "BW"):
        raise UserError(
            f"{study}: the PET is SUV by {kind} (SUVType), expected is BW, body weight. Export it in Bq/ml or as SUVbw."
        )
    if not kind:
        assumptions.append("SUVType (0054,1006) is missing: SUV by body weight, as the standard has it")


def _refuse_useless(given: Given, why: str, study: str) -> None:
    """What the user supplies must not be passed over in silence."""
    if given != NOTHING_GIVEN:
        raise UserError(f"{study}: {why}, and what --weights supplies cannot be used: remove the study's row.")


def _philips_factor(header: Dataset, element: int, study: str) -> float:
    """One of Philips' factors; 0 where it is not there."""
    value = private_value(header, 0x7053, PHILIPS, element)
    factor = 0.0 if value in (None, "") else number(value)
    if factor is None or not 0 <= factor < math.inf:
        raise UserError(f"{study}: Philips' factor (7053,10{element:02X}) is {value}; a positive number is expected.")
    return factor


def _weight(header: Dataset, study: str, given: Given) -> float:
    if given.weight_kg is not None:
        weight, tag = given.weight_kg, "weight_kg of --weights"
    else:
        tag = "PatientWeight (0010,1030)"
        weight = _positive(value_of(header, "PatientWeight"), tag, "kg", study, "weight_kg")
    low, high = PLAUSIBLE_WEIGHT_KG
    if not low <= weight <= high:
        raise UserError(f"{study}: {tag} is {weight:g}, which are no kg of a patient. {supply('weight_kg')}")
    return weight


def _dose(drug: Dataset, study: str, given: Given) -> float:
    if given.dose_mbq is not None:
        dose, tag = given.dose_mbq * 1e6, "dose_mbq of --weights in Bq"
    else:
        tag = "RadionuclideTotalDose (0018,1074)"
        dose = _positive(value_of(drug, "RadionuclideTotalDose"), tag, "Bq", study, "dose_mbq")
    low, high = PLAUSIBLE_DOSE_BQ
    if not low <= dose <= high:
        looks = "looks like MBq, not Bq" if dose < low else "is more than any patient gets"
        raise UserError(f"{study}: {tag} is {dose:g}, which {looks}. {supply('dose_mbq')}")
    return dose


def _half_life(drug: Dataset, study: str) -> float:
    tag = "RadionuclideHalfLife (0018,1075)"
    half_life_s = _positive(value_of(drug, "RadionuclideHalfLife"), tag, "s", study, "")
    if not is_half_life(half_life_s):
        raise UserError(
            f"{study}: {tag} is {half_life_s:g} s, which no PET radionuclide has (F-18: 6586 s). Correct the tag."
        )
    named = nuclide_of(drug)
    if named is not None and not is_half_life(half_life_s, named[0]):
        raise UserError(
            f"{study}: {tag} is {half_life_s:g} s, which is not that of {named[0]} in {named[1]}. Correct the tag that "
            "is wrong."
        )
    return half_life_s


def _drug(header: Dataset, study: str) -> Dataset:
    drugs = list(value_of(header, "RadiopharmaceuticalInformationSequence") or [])
    if not drugs:
        raise UserError(
            f"{study}: RadiopharmaceuticalInformationSequence (0054,0016) is missing: no dose, no half-life."
        )
    names = (
        *("RadionuclideTotalDose", "RadionuclideHalfLife"),
        *("RadiopharmaceuticalStartTime", "RadiopharmaceuticalStartDateTime"),
    )
    if len({tuple(text_of(drug, name) for name in names) for drug in drugs}) > 1:
        raise UserError(f"{study}: {len(drugs)} injections in (0054,0016): SUV of several injections is not defined.")
    return drugs[0]


def _positive(value: object, tag: str, unit: str, study: str, column: str) -> float:
    found = number(value)
    if found is None or not 0 < found < math.inf:
        shown = "missing" if value is None else f"{value}"
        raise UserError(
            f"{study}: {tag} is {shown}; a positive number of {unit} is expected. {supply(column)}".rstrip()
        )
    return found
