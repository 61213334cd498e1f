import pytest

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.convert import pairs
from tests.unit.petct.convert.layouts import CT_GRID, arrange, convert, dataset


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


def block(*patients: str) -> str:
    """A table whose rows name these patients."""
    return "\n".join(["case,ct,pet,patient", *(f"c{i},ct{i},pet{i},{patient}" for i, patient in enumerate(patients))])


@pytest.mark.parametrize(
    ("patients", "line"),
    [
        (("P0", "", "P1", ""), 3),
        (("", "", "P1", "P1"), 2),
        (("P0", "P0", "P1", "-"), 5),
        (("P0", "''", "P1", "P1"), 3),
        (("P0", "P0", "P1", " "), 5),
    ],
    ids=["merged cells", "not in the first rows", "a dash", "ditto marks", "a space"],
)
def test_patients_that_only_some_rows_name_are_refused(table, patients, line):
    with pytest.raises(UserError, match=rf"cohort\.csv, line {line}: .*Merged cells .*name the patient in every row"):
        pairs.plan(table(block(*patients)))


def test_rows_that_all_name_their_patient_say_nothing(table):
    assert pairs.plan(table(block("P0", "P0", "P1"))).notes == ()


@pytest.mark.parametrize("other", ["p0", "P 0", " P0 ", "\uff300"])
def test_one_patient_in_two_spellings_is_one_patient(table, other):
    plan = pairs.plan(table(block("P0", other, "P1")))

    assert [case.patient for case in plan.cases] == ["P0", "P0", "P1"]


def test_patients_that_are_spelled_alike_are_told(table):
    assert pairs.plan(table(block("Zoé", "ZOE\u0301", "P1"))).notes == (
        "patients spelled alike count as one: ZOE\u0301 is Zoé",
    )


@pytest.mark.parametrize("text", [block("", ""), "case,ct,pet\na,ct0,pet0\nb,ct1,pet1\n"], ids=["empty", "no column"])
def test_a_table_without_patients_is_warned_of(table, text):
    (note,) = pairs.plan(table(text)).notes

    assert note.startswith("WARNING: my cohort.csv names no patients, so every case counts as a patient of its own")


def test_one_file_in_cases_of_two_patients_is_warned_of(table, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "ct0")

    (note,) = pairs.plan(table("case,ct,pet,patient\na,ct0,pet0,A\nb,link,pet1,B\n")).notes

    assert note.startswith("WARNING: my cohort.csv gives one file to several patients (link in a and b)")
    assert pairs.plan(table("case,ct,pet,patient\na,ct0,pet0,A\nb,link,pet1,A\n")).notes == ()


def test_paths_lie_beside_the_name_of_a_table_that_is_a_link(table, tmp_path):
    """As git-annex, DataLad and Snakemake make them."""
    (tmp_path / "data").mkdir()
    link = tmp_path / "data" / "cohort.csv"
    link.symlink_to(table("case,ct,pet\n1,a,b\n"))

    plan = pairs.plan(link)

    assert plan.cases[0].ct == tmp_path / "data" / "a"
    assert plan.source == link and plan.name == "cohort"


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (("background", "tumor"), "background would be label 1"),
        (("tumor", "Background"), "Background would be label 2"),
        (("tumor", "tumor"), "tumor is named twice"),
        (("GTV", "gtv"), "gtv is named twice"),
        (("tumor,node",), "'tumor,node' cannot be a label's name.* Separate names by spaces"),
        (("",), "'' cannot be a label's name"),
        ((" tumor",), "' tumor' cannot be"),
        (("ignore",), "ignore is nnU-Net's name of voxels that nobody judged"),
        (("ignore", "tumor"), "must be the last of several"),
        (("tumor", "Ignore"), "spelled ignore"),
    ],
)
def test_names_that_no_label_can_have_are_refused(table, labels, words):
    with pytest.raises(UserError, match=words):
        pairs.plan(table("case,ct,pet\n1,a,b\n"), labels)


def test_the_ignore_label_is_the_last_and_no_lesion(table):
    plan = pairs.plan(table("case,ct,pet\n1,a,b\n"), ("tumor", "node", "ignore"))

    assert plan.label_values == {"tumor": 1, "node": 2, "ignore": 3}
    assert plan.lesion_values == {"tumor": 1, "node": 2}


def same_name(folder):
    return folder / "ct.nii"


def link(folder):
    (folder / "link.nii").symlink_to(folder / "ct.nii")
    return folder / "link.nii"


def hard_link(folder):
    (folder / "hard.nii").hardlink_to(folder / "ct.nii")
    return folder / "hard.nii"


def copy(folder):
    (folder / "copy.nii").write_bytes((folder / "ct.nii").read_bytes())
    return folder / "copy.nii"


@pytest.mark.parametrize("make", [same_name, link, hard_link, copy])
def test_one_image_given_as_ct_and_as_pet_is_refused(nnunet, capsys, make):
    command = arrange("pairs", nnunet / "source", CT_GRID, CT_GRID, ("one", "two"))
    pet = make(nnunet / "source" / "one")
    command[1].write_text(command[1].read_text().replace("one/pet.nii", f"one/{pet.name}"))

    assert convert(*command) == 1

    (refusal,) = (line for line in capsys.readouterr().out.splitlines() if "REFUSED" in line)
    assert refusal.startswith("  one REFUSED: ") and str(pet) in refusal
    assert "is given as ct and as pet" in refusal or "hold the same values" in refusal
    assert not list((dataset(nnunet) / "imagesTr").glob("one*"))


def test_the_label_given_as_pet_is_refused(nnunet, capsys):
    command = arrange("pairs", nnunet / "source", CT_GRID, CT_GRID)
    command[1].write_text(command[1].read_text().replace("one/pet.nii", "one/label.nii"))

    assert convert(*command) == 1

    assert "label.nii is given as pet and as label: name the file of each" in capsys.readouterr().out
