"""Values of headers: a malformed one is text for a message, never a crash; times are read as scanners write them."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

DATE = r"(?P<year>\d{4})[-./]?(?P<month>\d{2})[-./]?(?P<day>\d{2})"
TIME = r"(?P<hour>\d{2}):?(?P<minute>\d{2})?:?(?P<second>\d{2})?(?P<fraction>\.\d{1,6})?\d*"
ZONE = r"(?P<zone>[+-]\d{4})?"
HALF_A_DAY = timedelta(hours=12)


@contextmanager
def quietly() -> Iterator[None]:
    """Keep pydicom's remarks on values against the standard to itself: what matters is refused by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def value_of(header: Dataset, name: str) -> Any:
    """Return the value of an element, None where it is missing or empty, and its text where it is malformed."""
    try:
        value = header.get(name)
    except Exception:  # pydicom converts on access, and raises whatever a malformed value makes it raise
        value = header.get_item(tag_for_keyword(name) or 0).value
        value = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    return None if value is None or (isinstance(value, str) and not value.strip("\0 ")) else value


def text_of(header: Dataset, name: str) -> str:
    """Return a value as text without blanks around it; empty where it is missing."""
    value = value_of(header, name)
    return "" if value is None else str(value).strip("\0 ")


def number(value: object) -> float | None:
    """Return a number; None for what is none."""
    try:
        return float(str(value))
    except ValueError:
        return None


def parse_datetime(value: object, zone: str = "") -> datetime | None:
    """Read a date with a time of day, as local time.

    Args:
        value: DT, with or without separators and offset from UTC.
        zone: The files' own offset from UTC, such as "+0100": a value with another offset is brought to it.

    Returns:
        The time, or None where it is missing, malformed, or a date only.
    """
    match = re.fullmatch(rf"{DATE}[ T]?{TIME}\s*{ZONE}", str(value or "").strip("\0 "))
    moment = _datetime(match)
    if match is None or moment is None or not match["zone"] or not re.fullmatch(r"[+-]\d{4}", zone):
        return moment
    return moment.replace(tzinfo=_zone(match["zone"])).astimezone(_zone(zone)).replace(tzinfo=None)


def has_zone(value: object) -> bool:
    """Whether a DT value has an offset from UTC."""
    return bool(re.search(r"[+-]\d{4}$", str(value or "").strip("\0 ")))


def join_datetime(date: object, time: object) -> datetime | None:
    """Join a DA and a TM value; None if one of them is missing or malformed."""
    return _datetime(re.fullmatch(f"{DATE} {TIME}", f"{date or ''} {time or ''}".strip("\0 ")))


def time_of(header: Dataset, kind: str) -> datetime | None:
    """Return the date and time of "Series" or "Acquisition"; None where the header lacks the time or any date.

    An acquisition without a date of its own has the series', and is of the next day if its time is far earlier.
    """
    if both := parse_datetime(value_of(header, f"{kind}DateTime"), text_of(header, "TimezoneOffsetFromUTC")):
        return both
    dates = (value_of(header, f"{name}Date") for name in (kind, "Series", "Study"))
    moment = join_datetime(next((date for date in dates if date), None), value_of(header, f"{kind}Time"))
    if kind == "Acquisition" and moment and not value_of(header, "AcquisitionDate"):
        series = time_of(header, "Series")
        return moment + timedelta(days=1) if series and series - moment > HALF_A_DAY else moment
    return moment


def private_value(header: Dataset, group: int, creator: str, element: int) -> object:
    """Return a vendor's private value wherever its block lies; other vendors use the same numbers.

    Args:
        header: The header.
        group: Number of the group.
        creator: What the vendor's name of the block begins with, in capitals.
        element: Last two digits of the element.
    """
    for block in [tag.elem for tag in header.keys() if tag.group == group and 0x10 <= tag.elem <= 0xFF]:  # noqa: SIM118
        tag = (group, block << 8 | element)
        if tag in header and _text(header[group, block].value).upper().startswith(creator):
            value = header[tag].value
            return _text(value) if isinstance(value, bytes) else value
    return None


def _text(value: object) -> str:
    """Private values are bytes where their type is unknown."""
    return (value.decode("ascii", "ignore") if isinstance(value, bytes) else str(value)).strip("\0 ")


def _datetime(match: re.Match[str] | None) -> datetime | None:
    if match is None:
        return None
    year, month, day, hour, minute, second = (
        int(match[name] or 0) for name in ("year", "month", "day", "hour", "minute", "second")
    )
    try:
        moment = datetime(year, month, day, hour, minute, min(second, 59))  # 60 is a leap second
    except ValueError:
        return None
    return moment + timedelta(seconds=float(match["fraction"] or 0))


def _zone(text: str) -> timezone:
    minutes = int(text[1:3]) * 60 + int(text[3:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))
