import pytest

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.nnunet import folders


@pytest.fixture
def raw(tmp_path, monkeypatch):
    for name in ("raw", "preprocessed", "results"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    (tmp_path / "raw" / "Dataset007_Bonds").mkdir()
    (tmp_path / "raw" / "Dataset070_Others").mkdir()
    return tmp_path / "raw"


@pytest.mark.parametrize("dataset", ["7", "007", "Dataset007_Bonds"])
def test_a_raw_dataset_is_found_by_number_and_name(raw, dataset):
    assert folders.find_raw_dataset(dataset) == raw / "Dataset007_Bonds"


@pytest.mark.parametrize("dataset", ["8", "Bonds", "", "*"])
def test_what_is_not_one_dataset_is_refused(raw, dataset):
    with pytest.raises(UserError, match=r"should hold one dataset .*Give -d a number or a name"):
        folders.find_raw_dataset(dataset)


def test_two_datasets_of_one_number_are_named(raw):
    (raw / "Dataset007_Again").mkdir()

    with pytest.raises(UserError, match="there is Dataset007_Again, Dataset007_Bonds"):
        folders.find_raw_dataset("7")


def test_a_new_dataset_has_its_place_and_may_exist(raw):
    assert folders.new_raw_dataset(8, "New") == raw / "Dataset008_New"
    assert folders.new_raw_dataset(7, "Bonds") == raw / "Dataset007_Bonds"


def test_a_number_that_another_dataset_has_is_refused(raw):
    with pytest.raises(UserError, match="already has Dataset007_Bonds; give Dataset007_New another number with -d"):
        folders.new_raw_dataset(7, "New")


@pytest.mark.parametrize("dataset", ["7", "Dataset007_Bonds"])
def test_the_name_of_a_dataset_is_found(raw, dataset):
    assert folders.dataset_name(dataset) == "Dataset007_Bonds"


@pytest.mark.parametrize("dataset", ["9", "Bonds"])
def test_a_dataset_that_nnunet_does_not_know_is_one_line(raw, dataset):
    with pytest.raises(UserError, match=rf"^-d {dataset}: .*$"):
        folders.dataset_name(dataset)


@pytest.mark.parametrize(
    ("variable", "use"),
    [("nnUNet_raw", lambda: folders.find_raw_dataset("7")), ("nnUNet_preprocessed", lambda: folders.dataset_name("7"))],
)
def test_a_folder_of_nnunet_that_is_not_set_is_named(raw, monkeypatch, variable, use):
    monkeypatch.delenv(variable)

    with pytest.raises(UserError, match=f"{variable} is not set.*export {variable}="):
        use()
