import numpy as np
import pytest
import SimpleITK

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.challenge import CHALLENGES
from h2aseg_nnunet.petct.challenge.files import empty_mask, find_case, grid_of_mask, mask_file, write_mask
from h2aseg_nnunet.petct.challenge.interfaces import INTERFACES
from h2aseg_nnunet.petct.challenge.predict import find_model
from h2aseg_nnunet.petct.images.grids import Grid
from tests.synthetic import write_image

AUTOPET, HECKTOR = INTERFACES["autopet3"], INTERFACES["hecktor25"]


@pytest.fixture
def case(tmp_path):
    """A CT of 1 mm and a PET of 2 mm, under different uuids."""
    write_image(tmp_path / "images" / "ct" / "aaaa-1.mha", np.zeros((4, 6, 8), np.int16), 1.0)
    write_image(tmp_path / "images" / "pet" / "bbbb-2.mha", np.zeros((2, 3, 4), np.float32), 2.0)
    return tmp_path


def test_every_challenge_that_can_be_chosen_has_an_interface():
    assert set(CHALLENGES) == INTERFACES.keys()


def test_uuids_differ_and_the_mask_is_named_as_the_challenge_wants(case, tmp_path):
    found = find_case(case)

    assert (found.ct.name, found.pet.name, found.problem) == ("aaaa-1.mha", "bbbb-2.mha", "")
    expected = tmp_path / "images" / "automated-petct-lesion-segmentation" / "aaaa-1.mha"
    assert mask_file(tmp_path, AUTOPET, found) == expected
    assert mask_file(tmp_path, HECKTOR, found).name == "output.mha"


def test_the_mask_lies_on_the_grid_of_the_image_that_the_challenge_names(case):
    found = find_case(case)

    assert grid_of_mask(found, AUTOPET).size == (4, 3, 2)
    assert grid_of_mask(found, HECKTOR).size == (8, 6, 4)


def test_where_an_image_is_missing_or_broken_the_other_one_tells_the_grid(case):
    (case / "images" / "ct" / "aaaa-1.mha").write_bytes(b"no image")
    found = find_case(case)

    assert grid_of_mask(found, HECKTOR).size == (4, 3, 2)
    (case / "images" / "ct" / "aaaa-1.mha").unlink()
    found = find_case(case)
    assert found.ct is None and "ct holds 0 images" in found.problem
    assert mask_file(case, AUTOPET, found).name == "bbbb-2.mha"
    (case / "images" / "pet" / "bbbb-2.mha").unlink()
    assert grid_of_mask(find_case(case), HECKTOR).size == (1, 1, 1)


def test_several_images_are_a_problem(case):
    write_image(case / "images" / "pet" / "cccc-3.mha", np.zeros((2, 3, 4), np.float32))

    assert "pet holds 2 images, one was expected." in find_case(case).problem


def test_a_mask_has_exactly_the_header_and_one_byte_per_voxel(tmp_path):
    grid = Grid((2, 3, 4), (1.1, 2.2, 3.3), (-5.5, 6.6, 7.7), (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0))
    file = tmp_path / "masks" / "a.mha"

    write_mask(empty_mask(grid), grid, file)

    mask = SimpleITK.ReadImage(str(file))
    assert Grid.of(mask) == grid
    assert mask.GetPixelID() == SimpleITK.sitkUInt8
    assert not SimpleITK.GetArrayFromImage(mask).any()
    assert [each.name for each in file.parent.iterdir()] == ["a.mha"]


def test_a_mask_of_another_size_is_refused(tmp_path):
    grid = Grid((2, 3, 4), (1.0,) * 3, (0.0,) * 3, (1.0, 0, 0, 0, 1, 0, 0, 0, 1))

    with pytest.raises(UserError, match=r"the challenge wants \(2, 3, 4\)"):
        write_mask(SimpleITK.Image(3, 3, 4, SimpleITK.sitkUInt8), grid, tmp_path / "a.mha")


@pytest.mark.parametrize("below", [".", "model", "Dataset1_A/T__P__3d_fullres"])
def test_the_model_may_lie_some_levels_below(tmp_path, below):
    (tmp_path / "b" / below).mkdir(parents=True)
    (tmp_path / "b" / below / "plans.json").touch()

    assert find_model([tmp_path / "a", tmp_path / "b"]) == tmp_path / "b" / below


def test_no_model_and_two_models_are_named(tmp_path):
    with pytest.raises(UserError, match=r"no model lies in .*nowhere"):
        find_model([tmp_path / "nowhere"])
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "plans.json").touch()
    with pytest.raises(UserError, match="holds 2 models"):
        find_model([tmp_path])
