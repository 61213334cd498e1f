from datetime import datetime

import pytest
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from h2aseg_nnunet.petct.dicom.values import join_datetime, parse_datetime, private_value, text_of, time_of, value_of

NOON = datetime(2024, 3, 1, 12, 0, 5)


def header(**elements) -> Dataset:
    ds = Dataset()
    for name, value in elements.items():
        setattr(ds, name, value)
    return ds


def malformed(tag: int, vr: str, value: bytes) -> Dataset:
    ds = Dataset()
    ds[Tag(tag)] = RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)
    return ds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20240301120005", NOON),
        ("20240301120005.250000", NOON.replace(microsecond=250000)),
        ("2024-03-01 12:00:05", NOON),
        ("202403011200", NOON.replace(second=0)),
        ("20240301", None),  # a date tells no time of day
        ("20240230120000", None),
        ("noon", None),
        (None, None),
    ],
)
def test_a_date_with_a_time_is_read_as_scanners_write_it(text, expected):
    assert parse_datetime(text) == expected


def test_an_offset_from_utc_is_brought_to_the_files_own():
    assert parse_datetime("20240301110005+0000", "+0100") == NOON
    assert parse_datetime("20240301120005+0100", "+0100") == NOON
    assert parse_datetime("20240301120005+0000") == NOON  # taken as it is where the files name no offset


@pytest.mark.parametrize(
    ("date", "time"), [("20240301", "120005"), ("2024.03.01", "12:00:05"), ("2024-03-01", "120005.000000")]
)
def test_dates_and_times_may_have_separators(date, time):
    assert join_datetime(date, time) == NOON


def test_an_acquisition_without_a_date_after_midnight_is_of_the_next_day():
    late = header(SeriesDate="20240301", SeriesTime="235900", AcquisitionTime="000100")

    assert time_of(late, "Acquisition") == datetime(2024, 3, 2, 0, 1)


def test_a_malformed_number_is_its_text():
    assert value_of(malformed(0x00101030, "DS", b"70,5"), "PatientWeight") == "70,5"
    assert text_of(header(PatientWeight=" 70 "), "PatientWeight") == "70"
    assert value_of(header(PatientID=" "), "PatientID") is None


def test_a_private_value_is_found_in_whichever_block_the_vendor_has_it(export):
    ds = dcmread(export.add_pet()[0])
    ds.private_block(0x7053, "ACME", create=True).add_new(0x00, "DS", "1")
    ds.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0x00, "DS", "0.5")

    assert float(private_value(ds, 0x7053, "PHILIPS PET", 0x00)) == 0.5
    assert private_value(ds, 0x7053, "PHILIPS PET", 0x09) is None
