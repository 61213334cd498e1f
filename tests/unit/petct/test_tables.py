import math

import numpy as np
import pytest

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.tables import has_heading, number, read_csv, to_markdown, with_interval, write_csv


def write(tmp_path, text, encoding="utf-8"):
    file = tmp_path / "cohort.csv"
    file.write_bytes(text.encode(encoding))
    return file


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_tables_of_spreadsheets_are_read(tmp_path, delimiter, encoding, newline):
    lines = [["Case", "CT", "Note"], ["a", "ct/ä.nii.gz", ""], ["", "", ""], ["b", " ct/b.nii.gz ", "x"]]
    file = write(tmp_path, newline.join(map(delimiter.join, lines)), encoding)

    assert read_csv(file, ["case", "ct"]) == [
        (2, {"case": "a", "ct": "ct/ä.nii.gz", "note": ""}),
        (4, {"case": "b", "ct": "ct/b.nii.gz", "note": "x"}),
    ]


def test_a_field_may_hold_delimiters_and_line_breaks(tmp_path):
    file = write(tmp_path, 'case,note\na,"first, old\nsecond"\nb,\n')

    assert read_csv(file, ["case"]) == [
        (3, {"case": "a", "note": "first, old\nsecond"}),
        (4, {"case": "b", "note": ""}),
    ]


def test_a_short_row_lacks_its_last_fields(tmp_path):
    assert read_csv(write(tmp_path, "case,ct,pet\na,x\n"), ["case"]) == [(2, {"case": "a", "ct": "x", "pet": ""})]


@pytest.mark.parametrize(
    ("text", "encoding", "part"),
    [
        ("case,pet\n", "utf-8", "lacks the columns ct; it has case, pet"),
        ("", "utf-8", "lacks the columns case, ct; it has none"),
        ("case,ct,CT\n", "utf-8", "has the column ct twice"),
        ("case,ct\na,b,c\n", "utf-8", "line 2: 3 fields for 2 columns"),
        ("case,ct\nä,b\n", "latin-1", "is not text in UTF-8"),
        ("case,ct\na,b\n", "utf-16", "is not text in UTF-8"),
    ],
)
def test_a_table_that_cannot_be_used_is_named_with_the_reason(tmp_path, text, encoding, part):
    with pytest.raises(UserError, match=rf"cohort\.csv.*{part}"):
        read_csv(write(tmp_path, text, encoding), ["case", "ct"])


def test_a_missing_table_is_named_with_its_columns(tmp_path):
    with pytest.raises(UserError, match=r"cohort\.csv does not exist; a CSV file with the columns case, ct"):
        read_csv(tmp_path / "cohort.csv", ["case", "ct"])


def test_what_is_written_can_be_read_and_is_known_as_ours(tmp_path):
    file = tmp_path / "table.csv"

    write_csv(file, ["case", "dice"], [["a", 0.5], ["b", math.nan], ["c, d", np.float64("nan")]])

    assert file.read_bytes() == b'case,dice\r\na,0.5\r\nb,\r\n"c, d",\r\n'
    assert [row for _, row in read_csv(file, ["case"])][2] == {"case": "c, d", "dice": ""}
    assert has_heading(file, ["case", "dice"]) and has_heading(file, ["case"])
    assert not has_heading(file, ["case", "di"])


def test_a_file_of_any_kind_may_be_asked_for_its_heading(tmp_path):
    (tmp_path / "image.nii.gz").write_bytes(b"\x1f\x8b\xff" * 100)

    assert not has_heading(tmp_path / "image.nii.gz", ["case"])


def test_columns_of_markdown_are_aligned():
    assert to_markdown(["case", "Dice"], [["long name", "0.5"]]) == (
        "| case      | Dice |\n| --------- | ---- |\n| long name | 0.5  |"
    )


def test_numbers_that_are_none_are_dashes():
    assert [number(value, ".2f") for value in (None, math.nan, 0.5)] == ["-", "-", "0.50"]


@pytest.mark.parametrize(
    ("mean", "interval", "text"),
    [(0.5, (0.25, 0.75), "+0.50 [+0.25, +0.75]"), (math.nan, (math.nan, math.nan), "-"), (0.5, (math.nan, 1), "+0.50")],
)
def test_a_mean_has_its_interval_if_there_is_one(mean, interval, text):
    assert with_interval({"mean": mean, "interval_95": interval}, ".2f", sign="+") == text
