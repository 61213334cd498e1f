import pytest
import SimpleITK

from h2aseg_nnunet.modalities import StreamChannels
from h2aseg_nnunet.petct.images.masks import UNDECLARED
from h2aseg_nnunet.petct.nnunet.dataset_json import PLAIN
from h2aseg_nnunet.petct.report.cohort import ReportedCase, find_cases, read_case
from tests.unit.petct.report.conftest import arrays, image


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

    cohort = find_cases(images, predictions, folder("references", "a.nii.gz", "d.nii.gz"), PLAIN)

    (case,) = cohort.cases
    assert case.name == "a" and case.pet == images / "a_0001.nii.gz"
    assert cohort.without_images == ["b", "x"]
    assert cohort.without_prediction == ["c", "d"]
    assert cohort.without_reference == []


def test_case_without_reference_is_shown_and_named(folder):
    images = folder("images", "a_0000.nii.gz", "a_0001.nii.gz")
    cohort = find_cases(images, folder("predictions", "a.nii.gz"), folder("references"), PLAIN)

    assert cohort.cases[0].reference is None
    assert cohort.without_reference == ["a"]


def test_nobody_asked_for_references(folder):
    images = folder("images", "a_0000.nii.gz", "a_0001.nii.gz")
    assert find_cases(images, folder("predictions", "a.nii.gz"), None, PLAIN).without_reference == []


def test_nothing_to_show_is_an_error(folder):
    with pytest.raises(ValueError, match=r"holds 1 predictions .* none has its CT"):
        find_cases(folder("images", "b_0000.nii.gz"), folder("predictions", "a.nii.gz"), None, PLAIN)


def test_a_missing_folder_is_named_with_its_option(folder, tmp_path):
    with pytest.raises(ValueError, match=r"-r .*nowhere is not a folder"):
        find_cases(folder("images"), folder("predictions"), tmp_path / "nowhere", PLAIN)


def test_of_several_ct_and_pet_channels_the_first_is_shown(folder):
    images = folder("images", "a_0000.nii.gz", "a_0001.nii.gz", "a_0002.nii.gz")
    dataset = PLAIN._replace(channels=StreamChannels(ct=(2,), pet=(0, 1)), num_channels=3)

    (case,) = find_cases(images, folder("predictions", "a.nii.gz"), None, dataset).cases

    assert (case.ct.name, case.pet.name) == ("a_0002.nii.gz", "a_0000.nii.gz")


def case(tmp_path, change):
    files = ReportedCase("case", *(tmp_path / f"{name}.nii.gz" for name in ("ct", "pet", "prediction")))
    for kind in ("ct", "pet", "prediction"):
        made = image(arrays()[kind])
        SimpleITK.WriteImage(change(made) if kind == "prediction" else made, str(getattr(files, kind)))
    return files


def placed_at(x, y, z):
    def place(made):
        made.SetOrigin((x, y, z))
        return made

    return place


@pytest.mark.parametrize(
    "change",
    [lambda made: made[:, :, :-1], placed_at(-30, 10, 501), lambda made: SimpleITK.Flip(made, (True, False, False))],
    ids=["size", "origin", "direction"],
)
def test_file_on_another_grid_is_named(tmp_path, change):
    with pytest.raises(ValueError, match=r"prediction\.nii\.gz is not on the grid of .*pet\.nii\.gz"):
        read_case(case(tmp_path, change), UNDECLARED)


def test_header_that_differs_by_rounding_is_accepted(tmp_path):
    images = read_case(case(tmp_path, placed_at(-30, 10.001, 500)), UNDECLARED)

    assert images.prediction.GetOrigin() == images.pet.GetOrigin()
    assert images.reference is None
