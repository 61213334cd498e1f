import pytest
from pydicom.dataset import Dataset

from h2aseg_nnunet.petct.dicom.nuclides import is_half_life, nuclide_of


def drug(meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "SCT", meaning
    made = Dataset()
    made.RadionuclideCodeSequence = [code]
    return made


@pytest.mark.parametrize(
    ("meaning", "nuclide"),
    [
        ("^18^Fluorine", "F-18"),
        ("Fluorine F^18^", "F-18"),
        ("F-18", "F-18"),
        ("68Ga", "Ga-68"),
        ("^94m^Technetium", "Tc-94m"),
        ("[68Ga]Ga-PSMA-11", "Ga-68"),
        ("PSMA-1007 F 18", "F-18"),
        ("Fluorodeoxyglucose F^18^", "F-18"),
        ("Solution 11", None),
        ("Fluorine", None),
        ("^99^Unobtainium", None),
    ],
)
def test_the_nuclide_is_read_from_the_codes_meaning(meaning, nuclide):
    found = nuclide_of(drug(meaning))

    assert found == (None if nuclide is None else (nuclide, "RadionuclideCodeSequence (0054,0300)"))


def test_the_name_of_the_radiopharmaceutical_may_tell_it():
    made = Dataset()
    made.Radiopharmaceutical = "18F-FDG"
    assert nuclide_of(made) == ("F-18", "Radiopharmaceutical (0018,0031)")
    made.Radiopharmaceutical = "FDG"
    assert nuclide_of(made) is None


def test_a_half_life_belongs_to_its_nuclide():
    assert is_half_life(6588) and is_half_life(6588, "F-18")
    assert not is_half_life(6588, "Ga-68")
    assert not is_half_life(109.8)  # minutes
