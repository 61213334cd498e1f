from datetime import datetime

import pytest

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.dicom.inputs import find_inputs
from tests.unit.petct.dicom.exports import Export


def find(folder, **more):
    return find_inputs(folder, ".nii.gz", 2, **more)


@pytest.fixture
def two_studies(tmp_path):
    """A folder of two studies of patient P1 and one of patient A/B."""
    exports = [Export(tmp_path / "export", patient) for patient in ("P1", "P1", "A/B")]
    for export in exports:
        export.add_ct()
        export.add_pet(number=2)
    return exports


def test_studies_are_named_after_patient_and_date(two_studies):
    cases = find(two_studies[0].folder).cases

    assert [case.name for case in cases] == ["A_B_20240301", "P1_20240301", "P1_20240301_2"]


def test_nnunet_images_are_taken_as_they_are(tmp_path):
    for name in ("b_0000", "b_0001", "a_0000", "a_0001"):
        (tmp_path / f"{name}.nii.gz").touch()

    cases = find(tmp_path).cases

    assert [(case.name, case.on_one_grid) for case in cases] == [("a", True), ("b", True)]
    assert [file.name for file in cases[0].images] == ["a_0000.nii.gz", "a_0001.nii.gz"]


def test_a_tables_paths_are_relative_to_it(tmp_path):
    table = tmp_path / "pairs.csv"
    table.write_text("case;ct;pet\nx;ct.nii.gz;sub/pet.nii.gz\n")

    (case,) = find(table).cases

    assert case.name == "x" and not case.on_one_grid
    assert case.images == (tmp_path / "ct.nii.gz", tmp_path / "sub" / "pet.nii.gz")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("x,a.nii.gz,a.nii.gz", "line 2: ct and pet are the same file"),
        ("x,a.nii.gz,", "line 2: case, ct and pet must be given"),
        ("x,a.nii.gz,b.nii.gz\nx,c.nii.gz,d.nii.gz", "names the case x more than once"),
    ],
)
def test_a_wrong_row_is_refused(tmp_path, rows, said):
    table = tmp_path / "pairs.csv"
    table.write_text(f"case,ct,pet\n{rows}\n")

    with pytest.raises(UserError, match=said):
        find(table)


def test_what_is_neither_folder_nor_table_is_refused(tmp_path):
    with pytest.raises(UserError, match="neither a folder"):
        find(tmp_path / "missing")


def test_weights_are_refused_where_they_mean_nothing(two_studies, tmp_path):
    table = tmp_path / "weights.csv"
    table.write_text("patient,weight\nA/B,80\n")
    with pytest.raises(UserError, match="none of the columns weight_kg, dose_mbq, injected, corrected_to"):
        find(two_studies[0].folder, weights=table)
    table.write_text("patient,weight_kg\nA/B,80\nA/B,90\n")
    with pytest.raises(UserError, match=r"line 3: study .* has a row already"):
        find(two_studies[0].folder, weights=table)
    for channel in range(2):
        (tmp_path / f"a_000{channel}.nii.gz").touch()
    with pytest.raises(UserError, match="is for DICOM studies"):
        find(tmp_path, weights=table)


def test_weights_are_given_by_patient_or_study(two_studies, tmp_path):
    table = tmp_path / "weights.csv"
    table.write_text(
        f"patient,study,weight_kg,dose_mbq,injected\nA/B,,80,,2024-03-01 09:10:00\n,{two_studies[1].uid},,300,\n"
    )

    given = {case.study.uid: case.given for case in find(two_studies[0].folder, weights=table).cases}

    assert given[two_studies[2].uid] == (80.0, None, datetime(2024, 3, 1, 9, 10), None)
    assert given[two_studies[1].uid] == (None, 300.0, None, None)
    assert given[two_studies[0].uid] == (None, None, None, None)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("P1,,70,,", "patient P1 has 2 studies: name the study"),
        ("X,,70,,", "there is no study X"),
        (",,70,,", "must say whose values"),
        ("A/B,,-1,,", "weight_kg is '-1'; a positive number"),
        ("A/B,,nan,,", "weight_kg is 'nan'; a positive number"),
        ("A/B,,,,noon", "injected is 'noon'"),
    ],
)
def test_a_wrong_row_of_weights_is_refused(two_studies, tmp_path, row, said):
    table = tmp_path / "weights.csv"
    table.write_text(f"patient,study,weight_kg,dose_mbq,injected\n{row}\n")

    with pytest.raises(UserError, match=said):
        find(two_studies[0].folder, weights=table)
