"""Times of a PET: that of the injection, that to which its values are decay-corrected, and the decay in between."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from pydicom.dataset import Dataset

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.dicom.series import Series, Slice
from h2aseg_nnunet.petct.dicom.values import (
    has_zone,
    join_datetime,
    parse_datetime,
    private_value,
    text_of,
    time_of,
    value_of,
)

MAX_HALF_LIVES = 10
"""A scan later than this after the injection sees nothing: one of the two times is wrong."""

LONG_HALF_LIFE_S = 43200.0
"""With a longer half-life the injection may lie days back: its date is needed, not only its time of day."""

OVERNIGHT = timedelta(hours=6)
"""A time of day later than the scan's is that of the evening before, if that is no longer ago."""

SAME_TIME = timedelta(minutes=2)
LARGEST_DISAGREEMENT = 0.2
"""Share by which SUV may depend on which of two contradictory times is right."""

PRIVATE_TIMES = (
    (0x0071, "SIEMENS MED PT", 0x22, "Siemens' decay correction time (0071,1022)"),
    (0x0009, "GEMS_PETD_01", 0x0D, "GE's scan time (0009,100D)"),
)


class Given(NamedTuple):
    """What the user supplies for a study in place of its header; None leaves the header's value.

    Attributes:
        weight_kg, dose_mbq: The patient's weight and the injected dose.
        injected: When it was injected.
        corrected_to: The time to which the PET is decay-corrected.
    """

    weight_kg: float | None = None
    dose_mbq: float | None = None
    injected: datetime | None = None
    corrected_to: datetime | None = None


def supply(column: str) -> str:
    """Say how the user supplies a value."""
    return f"Supply it with --weights TABLE.csv, column {column}." if column else "Correct the tag."


def reference_time(
    series: Series, slices: Sequence[Slice], half_life_s: float, study: str, given: Given, assumptions: list[str]
) -> tuple[datetime, str]:
    """Find the time to which a series is decay-corrected, and the rule that gave it.

    Args:
        series: The PET.
        slices: Its slices.
        half_life_s: Half-life of its nuclide.
        study: Name of the study, for messages.
        given: What the user supplies.
        assumptions: To which what had to be assumed is added.

    Raises:
        UserError: If there is no time, or times contradict each other.
    """
    header = series.header
    if given.corrected_to is not None:
        return given.corrected_to, "given"
    acquired = [each.acquired for each in slices if each.acquired is not None]
    for value, rule in (
        (value_of(header, "DecayCorrectionDateTime"), "DecayCorrectionDateTime (0018,9701)"),
        *((private_value(header, *where), rule) for *where, rule in PRIVATE_TIMES),  # type: ignore[arg-type]
    ):
        if time := parse_datetime(value, text_of(header, "TimezoneOffsetFromUTC")):
            if acquired and abs(time - min(acquired)) > timedelta(days=1):
                assumptions.append(f"{rule} is {time}, and not the {min(acquired)} of the acquisition's tags")
            return time, rule
    started = _scan_start(slices, half_life_s, "GE" in text_of(header, "Manufacturer").upper())
    written = time_of(header, "Series")
    if written is not None and (not acquired or written <= min(acquired)):
        _refuse_contradiction(written, started, half_life_s, study, assumptions)
        return written, "series time (0008,0031)"
    if not acquired:
        raise UserError(
            f"{study}: the PET has neither AcquisitionTime (0008,0032) nor SeriesTime (0008,0031): the dose cannot be "
            f"decayed to the scan. {supply('corrected_to')}"
        )
    if started is not None:
        return started, "acquisition less frame reference time (0054,1300)"
    return min(acquired), "earliest acquisition time (0008,0032)"


def injection_time(
    header: Dataset, drug: Dataset, scan: datetime, half_life_s: float, study: str, given: Given, assumptions: list[str]
) -> datetime:
    """Find the time of the injection; one without a date lies on the day of the scan, or on the evening before.

    Raises:
        UserError: If there is none, or its day cannot be told.
    """
    if given.injected is not None:
        return given.injected
    day, clock = value_of(drug, "RadiopharmaceuticalStartDateTime"), value_of(drug, "RadiopharmaceuticalStartTime")
    zone = text_of(header, "TimezoneOffsetFromUTC")
    time = join_datetime(scan.strftime("%Y%m%d"), clock)
    if both := parse_datetime(day, zone):
        if has_zone(day) and not zone:
            assumptions.append(f"RadiopharmaceuticalStartDateTime {day} is local time: the files have no time zone")
        possible = timedelta() <= scan - both <= timedelta(seconds=MAX_HALF_LIVES * half_life_s)
        if possible and time and not _same_clock(both, time):
            raise UserError(
                f"{study}: RadiopharmaceuticalStartDateTime (0018,1078) is {day}, but RadiopharmaceuticalStartTime "
                f"(0018,1072) is {clock}: one of them is wrong. {supply('injected')}"
            )
        return both
    if time is None:
        found = " and ".join(f"'{each}'" for each in (day, clock) if each)
        raise UserError(
            f"{study}: neither RadiopharmaceuticalStartDateTime (0018,1078) nor RadiopharmaceuticalStartTime "
            f"(0018,1072) is there as a time{f' ({found})' if found else ''}. {supply('injected')}"
        )
    if half_life_s > LONG_HALF_LIFE_S:
        raise UserError(
            f"{study}: RadiopharmaceuticalStartDateTime (0018,1078) is missing; with a half-life of {half_life_s:g} s "
            f"the time of day does not tell the day of the injection. {supply('injected')}"
        )
    if time <= scan:
        assumptions.append("the injection, whose tag has no date, was on the day of the scan")
        return time
    evening = time - timedelta(days=1)
    if scan - evening > OVERNIGHT:
        raise UserError(
            f"{study}: RadiopharmaceuticalStartTime (0018,1072) is {clock}, without a date and after the scan at "
            f"{scan}; on the day before it would be {(scan - evening).total_seconds() / half_life_s:.0f} half-lives "
            f"before the scan. {supply('injected')}"
        )
    assumptions.append("the injection, whose tag has no date, was on the evening before the scan")
    return evening


def share_left(injected: datetime, scan: datetime, half_life_s: float, study: str) -> float:
    """Return the share of the dose that is left at the scan.

    Raises:
        UserError: If the times cannot both be right.
    """
    elapsed_s = (scan - injected).total_seconds()
    if not 0 <= elapsed_s <= MAX_HALF_LIVES * half_life_s:
        problem = "after the scan" if elapsed_s < 0 else f"{elapsed_s / half_life_s:.0f} half-lives before the scan"
        raise UserError(
            f"{study}: the injection at {injected} (0018,1078 or 0018,1072) lies {problem} at {scan}. Dates may "
            f"have been shifted in anonymization. {supply('injected')}"
        )
    if elapsed_s == 0 and scan.time() == datetime.min.time():
        raise UserError(
            f"{study}: injection and scan are both at {scan}: times may have been removed in anonymization. "
            f"{supply('injected')}"
        )
    return 2 ** (-elapsed_s / half_life_s)


def mean_time(each: Slice, half_life_s: float, study: str) -> datetime:
    """Return when the activity of a slice is its mean over the frame.

    Raises:
        UserError: If the slice does not tell when it was acquired.
    """
    if each.acquired is None or not each.duration_s or each.duration_s < 0:
        raise UserError(
            f"{study}: DecayCorrection is NONE, and {each.file} lacks AcquisitionTime or ActualFrameDuration: the dose "
            "cannot be decayed to the slice. Correct the tags."
        )
    return each.acquired + timedelta(seconds=_mean_time_within_s(each.duration_s, half_life_s))


def _scan_start(slices: Sequence[Slice], half_life_s: float, at_frame_start: bool) -> datetime | None:
    """The reference time of the series, from all slices' frame reference times, or None.

    GE counts to the start of a frame, others to its mean time.
    """
    starts = []
    for each in slices:
        if not (
            each.acquired
            and each.frame_reference_s
            and each.frame_reference_s > 0
            and each.duration_s
            and each.duration_s > 0
        ):
            return None
        within_s = 0.0 if at_frame_start else _mean_time_within_s(each.duration_s, half_life_s)
        starts.append(each.acquired + timedelta(seconds=within_s - each.frame_reference_s))
    return min(starts, default=None)


def _refuse_contradiction(
    written: datetime, started: datetime | None, half_life_s: float, study: str, assumptions: list[str]
) -> None:
    """The series' time and the frames' reference times should tell the same start."""
    if started is None or abs(started - written) <= SAME_TIME:
        return
    apart_s = abs((started - written).total_seconds())
    said = f"SeriesTime (0008,0031) is {written}, but the frames' reference times (0054,1300) tell {started}"
    if 1 - 2 ** (-apart_s / half_life_s) > LARGEST_DISAGREEMENT:
        raise UserError(f"{study}: {said}: the PET may be decay-corrected to either. {supply('corrected_to')}")
    assumptions.append(f"{said}: the series' time counts")


def _mean_time_within_s(duration_s: float, half_life_s: float) -> float:
    """Time after a frame's start at which the decaying activity equals its mean over the frame."""
    decay = math.log(2) / half_life_s * duration_s
    return math.log(decay / -math.expm1(-decay)) * half_life_s / math.log(2)


def _same_clock(one: datetime, other: datetime) -> bool:
    apart = abs((one - other).total_seconds()) % 86400
    return min(apart, 86400 - apart) <= SAME_TIME.total_seconds()
