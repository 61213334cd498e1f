import numpy as np
import pytest
import SimpleITK

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.cases import IMAGE_ENDINGS, find_cases, images_in
from h2aseg_nnunet.petct.images.nifti import NIFTI
from h2aseg_nnunet.petct.images.reading import FORMATS, read_case


@pytest.fixture
def folder(tmp_path):
    """Images of the cases a and b_c, with files that are none of theirs."""
    names = [f"{case}_000{channel}.nii.gz" for case in ("b_c", "a") for channel in (0, 1)]
    for name in [*names, "dataset.json", ".a_0000.nii.gz", "a_0000.mha"]:
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_means_all_its_cases_in_the_order_of_their_names(folder):
    cases = find_cases(folder, 2, ".nii.gz")

    assert [case.name for case in cases] == ["a", "b_c"]
    assert cases[1].images == [folder / "b_c_0000.nii.gz", folder / "b_c_0001.nii.gz"]


@pytest.mark.parametrize("given", ["b_c", "b_c_0000.nii.gz", "b_c_0001.nii.gz"])
def test_one_case_is_meant_by_its_name_or_any_of_its_files(folder, given):
    (case,) = find_cases(folder / given, 2, ".nii.gz")

    assert case.name == "b_c" and len(case.images) == 2


def test_a_missing_channel_is_named(folder):
    (folder / "a_0001.nii.gz").unlink()

    with pytest.raises(UserError, match=r"a: a_0001\.nii\.gz missing\. Give a folder of images"):
        find_cases(folder, 2, ".nii.gz")


def test_a_folder_without_a_case_is_named_with_what_was_looked_for(folder):
    with pytest.raises(UserError, match=r"holds no case: no file like case_0000\.nrrd"):
        find_cases(folder, 2, ".nrrd")


def write(file, origin=0.0):
    image = SimpleITK.GetImageFromArray(np.zeros((3, 4, 5), np.float32))
    image.SetOrigin((origin, 0, 0))
    SimpleITK.WriteImage(image, str(file))


def test_images_on_one_grid_are_read(tmp_path):
    for channel in (0, 1):
        write(tmp_path / f"a_000{channel}.nii.gz")

    assert len(read_case(find_cases(tmp_path, 2, ".nii.gz")[0])) == 2


def test_images_on_two_grids_are_refused_with_their_distance(tmp_path):
    write(tmp_path / "a_0000.nii.gz")
    write(tmp_path / "a_0001.nii.gz", origin=0.07)

    with pytest.raises(UserError, match=r"a_0001\.nii\.gz is not on the grid of .*0\.07 mm \(0\.07 voxels\) apart"):
        read_case(find_cases(tmp_path, 2, ".nii.gz")[0])


def test_images_are_found_by_name_without_ending(tmp_path):
    for name in ("a.nii.gz", "B.MHA", ".hidden.nii.gz", "plans.json"):
        (tmp_path / name).touch()

    assert images_in(tmp_path) == {"a": tmp_path / "a.nii.gz", "B": tmp_path / "B.MHA"}


@pytest.mark.parametrize(
    ("names", "part"), [(["a.nii.gz", "a.mha"], "holds a.mha and a.nii.gz"), (["a.txt"], "holds no image")]
)
def test_folders_of_masks_that_cannot_be_used_are_refused(tmp_path, names, part):
    for name in names:
        (tmp_path / name).touch()

    with pytest.raises(UserError, match=part):
        images_in(tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere is not a folder"):
        images_in(tmp_path / "nowhere")


def test_every_image_ending_has_a_reader():
    assert sorted(IMAGE_ENDINGS) == sorted([*NIFTI, *FORMATS])
