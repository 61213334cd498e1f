import pytest

from h2aseg_nnunet.errors import listing
from h2aseg_nnunet.petct.evaluate.pairing import pair_files, require_pets
from h2aseg_nnunet.petct.nnunet.cases import images_in


def touch(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_names_match_whatever_the_ending(tmp_path):
    references = touch(tmp_path / "labelsTr", "b.nii.gz", "a.mha")
    predictions = touch(tmp_path / "predictions", "a.nii.gz", "b.nrrd")

    pairing = pair_files(references, predictions)

    assert [(case.name, case.reference.name, case.prediction.name) for case in pairing.cases] == [
        ("a", "a.mha", "a.nii.gz"),
        ("b", "b.nii.gz", "b.nrrd"),
    ]


def test_what_nnunet_writes_beside_predictions_is_passed_over(tmp_path):
    names = ("case.nii.gz", "case.npz", "case.pkl", "dataset.json", "plans.json", "summary.json", "._case.nii.gz")

    assert list(images_in(touch(tmp_path / "predictions", *names))) == ["case"]


def test_points_in_a_name_belong_to_it(tmp_path):
    assert list(images_in(touch(tmp_path / "masks", "patient.1.nii.gz", "patient.1.2.NII"))) == [
        "patient.1.2",
        "patient.1",
    ]


def test_missing_and_extra_predictions_are_named(tmp_path):
    references = touch(tmp_path / "labelsTr", "a.nii.gz", "b.nii.gz")
    predictions = touch(tmp_path / "predictions", "b.nii.gz", "c.nii.gz")

    pairing = pair_files(references, predictions)

    assert pairing.missing_predictions == ["a"]
    assert pairing.extra_predictions == ["c"]


def test_pet_is_channel_1_of_nnunets_images(tmp_path):
    references = touch(tmp_path / "labelsTr", "a.nii.gz")
    images = touch(tmp_path / "imagesTr", "a_0000.nii.gz", "a_0001.nii.gz")

    (case,) = pair_files(references, references, images).cases

    assert case.pet.name == "a_0001.nii.gz"


def test_pet_may_be_named_like_the_case(tmp_path):
    references = touch(tmp_path / "labelsTr", "a.nii.gz")

    (case,) = pair_files(references, references, touch(tmp_path / "suv", "a.mha")).cases

    assert case.pet.name == "a.mha"


def test_a_missing_pet_is_named(tmp_path):
    references = touch(tmp_path / "labelsTr", "a.nii.gz", "b.nii.gz")
    suv = touch(tmp_path / "suv", "a.nii.gz")
    cases = pair_files(references, references, suv).cases

    require_pets(cases[:1], suv)
    with pytest.raises(ValueError, match=r"suv lacks the PET of b: expected are files such as b_0001\.nii\.gz"):
        require_pets(cases, suv)


def test_folders_without_a_common_name_are_a_mistake(tmp_path):
    references = touch(tmp_path / "labelsTr", "a.nii.gz")

    with pytest.raises(ValueError, match="there is a_0000, expected was"):
        pair_files(references, touch(tmp_path / "imagesTr", "a_0000.nii.gz"))


def test_one_case_in_two_formats_is_a_mistake(tmp_path):
    with pytest.raises(ValueError, match=r"a\.mha and a\.nii\.gz"):
        images_in(touch(tmp_path / "predictions", "a.nii.gz", "a.mha"))


def test_a_folder_that_is_none_or_empty_is_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        images_in(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="empty holds no image"):
        images_in(touch(tmp_path / "empty"))


def test_long_listings_are_cut():
    assert listing([f"case_{i}" for i in range(300)]).endswith("case_9 and 290 more")
    assert listing(["a", "b"]) == "a, b"
