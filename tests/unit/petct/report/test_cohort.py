import pytest

from h2aseg_nnunet.petct.report.cohort import find_cases
from h2aseg_nnunet.petct.report.dataset import Dataset

DATASET = Dataset(".nii.gz", ct=0, pet=1, classes={"tumor": (1,)})


@pytest.fixture
def folder(tmp_path):
    def make(name, *cases):
        (tmp_path / name).mkdir()
        for case in cases:
            (tmp_path / name / case).touch()
        return tmp_path / name

    return make


def test_every_prediction_with_images_is_a_case(folder):
    images = folder("images", "a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz", "c_0000.nii.gz", "c_0001.nii.gz")
    predictions = folder("predictions", "a.nii.gz", "b.nii.gz", "x.nii.gz", ".a.nii.gz", "a.npz", "plans.json")

    cohort = find_cases(images, predictions, folder("references", "a.nii.gz", "d.nii.gz"), DATASET)

    (case,) = cohort.cases
    assert case.name == "a" and case.pet == images / "a_0001.nii.gz"
    assert cohort.without_images == ["b", "x"]
    assert cohort.without_prediction == ["c", "d"]
    assert cohort.without_reference == []


def test_case_without_reference_is_shown_and_named(folder):
    images = folder("images", "a_0000.nii.gz", "a_0001.nii.gz")
    cohort = find_cases(images, folder("predictions", "a.nii.gz"), folder("references"), DATASET)

    assert cohort.cases[0].reference is None
    assert cohort.without_reference == ["a"]


def test_nobody_asked_for_references(folder):
    images = folder("images", "a_0000.nii.gz", "a_0001.nii.gz")
    assert find_cases(images, folder("predictions", "a.nii.gz"), None, DATASET).without_reference == []


def test_nothing_to_show_is_an_error(folder):
    with pytest.raises(ValueError, match=r"holds 1 predictions .* none has its CT"):
        find_cases(folder("images", "b_0000.nii.gz"), folder("predictions", "a.nii.gz"), None, DATASET)


def test_a_missing_folder_is_named_with_its_option(folder, tmp_path):
    with pytest.raises(ValueError, match=r"-r .*nowhere is not a folder"):
        find_cases(folder("images"), folder("predictions"), tmp_path / "nowhere", DATASET)
