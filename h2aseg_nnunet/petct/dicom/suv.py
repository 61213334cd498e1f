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
from datetime import datetime, timedelta
from typing import NamedTuple

from pydicom.dataset import Dataset

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.dicom.series import Series, Slice, join_datetime, parse_datetime, time_of

MAX_HALF_LIVES = 10
"""A scan later than this after the injection sees nothing: one of the two times is wrong."""

HALF_LIVES_S = {
    "O-15": 122.24, "Rb-82": 76.4, "N-13": 597.9, "C-11": 1221.8, "Ga-68": 4062.6, "F-18": 6586.2, "Cu-64": 45721.0,
    "Zr-89": 282280.0, "I-124": 360806.0, "Sc-44": 14551.0, "Br-76": 58320.0, "Y-86": 53064.0, "Y-90": 230688.0,
    "Tb-152": 63000.0, "Mn-52": 483062.0, "Co-55": 63108.0, "Cu-61": 12002.0, "Cu-62": 580.2,
}  # fmt: skip
HALF_LIFE_TOLERANCE = 0.03
PLAUSIBLE_WEIGHT_KG = (0.5, 400.0)
PLAUSIBLE_DOSE_BQ = (1e6, 2e10)
LONG_HALF_LIFE_S = 43200.0
"""With a longer half-life the injection may lie days back: its date is needed, not only its time of day."""

SIEMENS_TIME, GE_TIME = (0x0071, 0x1022), (0x0009, 0x100D)
PHILIPS_SUV, PHILIPS_BQML = (0x7053, 0x1000), (0x7053, 0x1009)


class Given(NamedTuple):
    """What the user supplies for a study in place of its header; None leaves the header's value."""

    weight_kg: float | None = None
    dose_mbq: float | None = None
    injected: datetime | None = None


NOTHING_GIVEN = Given()


class SUV(NamedTuple):
    """How a PET series becomes SUVbw.

    Attributes:
        factors: What the rescaled value of every slice is multiplied with.
        record: Every value and assumption that went into it, for the study's JSON.
    """

    factors: list[float]
    record: dict[str, object]


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
    header = series.header
    units = _units(header)
    record: dict[str, object] = {"units": units}
    if units == "GML":
        _require_body_weight(header, study)
        return SUV([1.0] * len(slices), record)
    scale = 1.0
    if units == "CNTS":
        to_suv, to_bqml = _private_number(header, PHILIPS_SUV), _private_number(header, PHILIPS_BQML)
        if to_suv:
            return SUV([to_suv] * len(slices), record | {"philips_suv_scale_factor": to_suv})
        if not to_bqml:
            raise UserError(
                f"{study}: PET in counts (Units CNTS) without Philips' factors (7053,1000) and (7053,1009): SUV cannot "
                "be computed. Export the PET with private tags, or in Bq/ml."
            )
        scale, record["philips_activity_scale_factor"] = to_bqml, to_bqml
    elif units != "BQML":
        raise UserError(f"{study}: Units (0054,1001) is {units or 'missing'}; expected is BQML, CNTS (Philips) or GML.")
    weight_kg, dose_bq, half_life_s = (
        _weight(header, study, given),
        _dose(header, study, given),
        _half_life(header, study),
    )
    correction = str(header.get("DecayCorrection", "")).upper()
    if not correction and "DecayCorrectionDateTime" in header:
        correction = "START"
    record |= {
        "weight_kg": weight_kg,
        "dose_bq": dose_bq,
        "half_life_s": half_life_s,
        "decay_correction": correction,
        "given": {name: str(value) for name, value in given._asdict().items() if value is not None},
    }
    per_bq = scale * weight_kg * 1000 / dose_bq
    if correction == "ADMIN":
        return SUV([per_bq] * len(slices), record)
    if correction == "START":
        reference, rule = _reference_time(series, slices, half_life_s, study)
        injected = _injected(header, reference, half_life_s, study, given)
        record |= {"injected": str(injected), "reference_time": str(reference), "reference_rule": rule}
        return SUV([per_bq / _decay(injected, reference, half_life_s, study)] * len(slices), record)
    if correction == "NONE":
        times = [_mean_time(each, half_life_s, study) for each in slices]
        injected = _injected(header, min(times), half_life_s, study, given)
        record |= {"injected": str(injected), "reference_time": str(min(times)), "reference_rule": "each slice's own"}
        return SUV([per_bq / _decay(injected, time, half_life_s, study) for time in times], record)
    raise UserError(
        f"{study}: DecayCorrection (0054,1102) is {correction or 'missing'}; expected is START, ADMIN or NONE."
    )


def _units(header: Dataset) -> str:
    """Units of a classic image; of an enhanced one, those of its real world values."""
    if units := str(header.get("Units", "")).upper():
        return units
    for groups in (header.get("PerFrameFunctionalGroupsSequence"), header.get("SharedFunctionalGroupsSequence")):
        for frame in list(groups or [])[:1]:
            for mapping in frame.get("RealWorldValueMappingSequence") or []:
                for code in mapping.get("MeasurementUnitsCodeSequence") or []:
                    return {"BQ/ML": "BQML", "G/ML{SUVBW}": "GML", "G/ML": "GML"}.get(str(code.CodeValue).upper(), "")
    return ""


def _require_body_weight(header: Dataset, study: str) -> None:
    kind = str(header.get("SUVType", "BW")).upper() or "BW"
    if kind != "BW":
        raise UserError(
            f"{study}: the PET is SUV by {kind} (SUVType), expected is BW, body weight. Export it in Bq/ml or as SUVbw."
        )


def _weight(header: Dataset, study: str, given: Given) -> float:
    if given.weight_kg is not None:
        return given.weight_kg
    weight = _positive(header.get("PatientWeight"), "PatientWeight (0010,1030)", "kg", study, "weight_kg")
    low, high = PLAUSIBLE_WEIGHT_KG
    if not low <= weight <= high:
        raise UserError(
            f"{study}: PatientWeight (0010,1030) is {weight:g}, which are no kg of a patient. {_supply('weight_kg')}"
        )
    return weight


def _dose(header: Dataset, study: str, given: Given) -> float:
    if given.dose_mbq is not None:
        return given.dose_mbq * 1e6
    tag = "RadionuclideTotalDose (0018,1074)"
    dose = _positive(_drug(header, study).get("RadionuclideTotalDose"), tag, "Bq", study, "dose_mbq")
    low, high = PLAUSIBLE_DOSE_BQ
    if not low <= dose <= high:
        looks = "looks like MBq, not Bq" if dose < low else "is more than any patient gets"
        raise UserError(f"{study}: {tag} is {dose:g}, which {looks}. {_supply('dose_mbq')}")
    return dose


def _half_life(header: Dataset, study: str) -> float:
    tag = "RadionuclideHalfLife (0018,1075)"
    half_life = _positive(_drug(header, study).get("RadionuclideHalfLife"), tag, "s", study, "")
    if not any(abs(half_life / known - 1) < HALF_LIFE_TOLERANCE for known in HALF_LIVES_S.values()):
        raise UserError(
            f"{study}: {tag} is {half_life:g} s, which no PET radionuclide has (F-18: 6586 s). Correct the tag."
        )
    return half_life


def _drug(header: Dataset, study: str) -> Dataset:
    drugs = list(header.get("RadiopharmaceuticalInformationSequence") or [])
    if not drugs:
        raise UserError(
            f"{study}: RadiopharmaceuticalInformationSequence (0054,0016) is missing: no dose, no half-life."
        )
    if len({(str(d.get("RadionuclideTotalDose")), str(d.get("RadiopharmaceuticalStartTime"))) for d in drugs}) > 1:
        raise UserError(f"{study}: {len(drugs)} injections in (0054,0016): SUV of several injections is not defined.")
    return drugs[0]


def _positive(value: object, tag: str, unit: str, study: str, option: str) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not (number > 0 and math.isfinite(number)):
        shown = "missing" if value in (None, "") else f"{value}"
        raise UserError(
            f"{study}: {tag} is {shown}; a positive number of {unit} is expected. {_supply(option)}".rstrip()
        )
    return number


def _supply(column: str) -> str:
    return f"Supply it with --weights TABLE.csv, column {column}." if column else "Correct the tag."


def _reference_time(series: Series, slices: Sequence[Slice], half_life_s: float, study: str) -> tuple[datetime, str]:
    """The time to which a series is decay-corrected, and the rule that gave it."""
    header = series.header
    maker = str(header.get("Manufacturer", "")).upper()
    for value, rule in (
        (header.get("DecayCorrectionDateTime"), "DecayCorrectionDateTime (0018,9701)"),
        (_private(header, SIEMENS_TIME, "SIEMENS MED PT"), "Siemens' decay correction time (0071,1022)"),
        (_private(header, GE_TIME, "GEMS_PETD_01"), "GE's scan time (0009,100D)"),
    ):
        if time := parse_datetime(value):
            return time, rule
    acquired = [each.acquired for each in slices if each.acquired is not None]
    written = time_of(header, "Series")
    if written is not None and (not acquired or written <= min(acquired)):
        return written, "series time (0008,0031)"
    if not acquired:
        raise UserError(
            f"{study}: the PET has neither AcquisitionTime (0008,0032) nor SeriesTime (0008,0031): the dose cannot be "
            "decayed to the scan."
        )
    put_back = [_scan_start(each, half_life_s, "GE" in maker) for each in slices]
    if all(time is not None for time in put_back):
        return min(time for time in put_back if time), "acquisition less frame reference time (0054,1300)"
    return min(acquired), "earliest acquisition time (0008,0032)"


def _scan_start(each: Slice, half_life_s: float, at_frame_start: bool) -> datetime | None:
    """The reference time of the series, from one slice; GE counts to the start of a frame, others to its mean time."""
    if not (each.acquired and each.frame_reference_s and each.frame_reference_s > 0 and each.duration_s):
        return None
    within_s = 0.0 if at_frame_start else _mean_time_within_s(each.duration_s, half_life_s)
    return each.acquired + timedelta(seconds=within_s - each.frame_reference_s)


def _mean_time(each: Slice, half_life_s: float, study: str) -> datetime:
    """When the activity of a slice is its mean over the frame."""
    if each.acquired is None or not each.duration_s:
        raise UserError(
            f"{study}: DecayCorrection is NONE, and {each.file} lacks AcquisitionTime or ActualFrameDuration: the dose "
            "cannot be decayed to the slice."
        )
    return each.acquired + timedelta(seconds=_mean_time_within_s(each.duration_s, half_life_s))


def _mean_time_within_s(duration_s: float, half_life_s: float) -> float:
    """Time after a frame's start at which the decaying activity equals its mean over the frame."""
    decay = math.log(2) / half_life_s * duration_s
    return math.log(decay / -math.expm1(-decay)) * half_life_s / math.log(2)


def _injected(header: Dataset, scan: datetime, half_life_s: float, study: str, given: Given) -> datetime:
    if given.injected is not None:
        return given.injected
    drug = _drug(header, study)
    if both := parse_datetime(drug.get("RadiopharmaceuticalStartDateTime")):
        return both
    time = join_datetime(scan.strftime("%Y%m%d"), drug.get("RadiopharmaceuticalStartTime"))
    if time is None:
        raise UserError(
            f"{study}: neither RadiopharmaceuticalStartDateTime (0018,1078) nor RadiopharmaceuticalStartTime "
            f"(0018,1072) is there. {_supply('injected')}"
        )
    if half_life_s > LONG_HALF_LIFE_S:
        raise UserError(
            f"{study}: RadiopharmaceuticalStartDateTime (0018,1078) is missing; with a half-life of {half_life_s:g} s "
            f"the time of day does not tell the day of the injection. {_supply('injected')}"
        )
    return time if time <= scan else time - timedelta(days=1)  # injected before midnight


def _decay(injected: datetime, scan: datetime, half_life_s: float, study: str) -> float:
    """Share of the dose that is left at the scan."""
    elapsed_s = (scan - injected).total_seconds()
    if not 0 <= elapsed_s <= MAX_HALF_LIVES * half_life_s:
        problem = "after the scan" if elapsed_s < 0 else f"{elapsed_s / half_life_s:.0f} half-lives before the scan"
        raise UserError(
            f"{study}: the injection at {injected} (0018,1078 or 0018,1072) lies {problem} at {scan}. Dates may "
            f"have been shifted in anonymization. {_supply('injected')}"
        )
    return 2 ** (-elapsed_s / half_life_s)


def _private(header: Dataset, tag: tuple[int, int], creator: str) -> object:
    """A private value, if its block is the vendor's: others may use the same number."""
    group, element = tag
    block = header.get((group, element >> 8))
    if tag not in header or block is None or not str(block.value).upper().startswith(creator):
        return None
    value = header[tag].value
    return value.decode("ascii", "ignore").strip("\0 ") if isinstance(value, bytes) else value


def _private_number(header: Dataset, tag: tuple[int, int]) -> float | None:
    value = _private(header, tag, "PHILIPS PET")
    try:
        return float(str(value)) if value not in (None, "") else None
    except ValueError:
        return None
