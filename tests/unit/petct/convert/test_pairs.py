import pytest

from h2aseg_nnunet.petct.convert import pairs


@pytest.fixture
def table(tmp_path):
    def write(text, encoding="utf-8"):
        (tmp_path / "my cohort.csv").write_bytes(text.encode(encoding))
        return tmp_path / "my cohort.csv"

    return write


def test_paths_are_relative_to_the_table_and_a_row_without_label_is_a_test_case(table, tmp_path):
    plan = pairs.plan(
        table("case,ct,pet,label,patient\nA-1,a/ct.nii,a/pet.nii,a/seg.nii,A\nA-2,/data/ct.mha,/data/pet.mha,,A\n")
    )

    first, second = plan.cases
    assert (first.ct, first.pet, first.label) == tuple(tmp_path / "a" / f"{name}.nii" for name in ("ct", "pet", "seg"))
    assert (str(second.ct), second.label) == ("/data/ct.mha", None)
    assert (first.patient, first.training, second.patient, second.training) == ("A", True, "A", False)
    assert (plan.name, plan.labels, plan.notes) == ("mycohort", ("tumor",), ())


def test_a_spreadsheets_export_is_read(table):
    """Byte order mark, semicolons, capitals, spaces, an empty line at the end."""
    plan = pairs.plan(table("\ufeffCase;CT ;PET;Label;Age\r\nNr 7;ct.nii.gz;pet.nii.gz;l.nii.gz;61\r\n;;;;\r\n"))

    assert [(case.name, case.ct.name, case.label.name) for case in plan.cases] == [("Nr 7", "ct.nii.gz", "l.nii.gz")]
    assert plan.notes[0] == "columns age of my cohort.csv are not used"
    assert "names no patients" in plan.notes[1]


def test_numbers_keep_their_zeros(table):
    assert pairs.plan(table("case,ct,pet\n007,a,b\nNA,a,b\n")).cases[0].name == "007"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("case,ct\n1,a\n", "lacks the columns pet; it has case, ct"),
        ("case,ct,pet\n1,a,b\n\n2,,\n", "line 4: no ct and no pet"),
        ("case,ct,pet\n../1,a,b\n", r"line 2: '\.\./1' cannot be a case's name"),
        ("case,ct,pet\n.1,a,b\n", r"line 2: '\.1' cannot be"),
        ("case,ct,pet\nA,a,b\na,c,d\n", r"Two studies would be called 'a'"),
        ("case,ct,pet\n", "has no case"),
        ("", "lacks the columns case, ct, pet; it has none"),
        ("case,ct,pet\n1,a,b,c,d\n", "line 2: 5 fields for 3 columns"),
    ],
)
def test_what_is_wrong_with_a_table_is_told(table, text, words):
    with pytest.raises(ValueError, match=words):
        pairs.plan(table(text))


def test_quoted_fields_hold_delimiters(table):
    assert pairs.plan(table('case,ct,pet\n1,"a,b.nii",c\n')).cases[0].ct.name == "a,b.nii"


def test_another_encoding_is_told(table):
    with pytest.raises(ValueError, match="UTF-8"):
        pairs.plan(table("case,ct,pet\nMüller,a,b\n", encoding="latin-1"))


def test_a_missing_table_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"none\.csv does not exist"):
        pairs.plan(tmp_path / "none.csv")
