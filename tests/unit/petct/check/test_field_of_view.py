import numpy as np
import pytest

from h2aseg_nnunet.petct.check.coarse import coarse_pair
from h2aseg_nnunet.petct.check.field_of_view import check_field_of_view, unmeasured
from h2aseg_nnunet.petct.images.grids import Grid

GRID = Grid((40, 30, 24), (4.0,) * 3, (0.0, 0, 0), (1.0, 0, 0, 0, 1, 0, 0, 0, 1))


def check(ct, pet):
    return check_field_of_view(coarse_pair(ct, pet, None, GRID), "ct", "pet")


def test_a_good_patient_gives_no_finding(patient):
    assert check(*patient[:2]) == []


@pytest.mark.parametrize("padding", [-1024, -2000, 0])
def test_a_ct_without_its_upper_slices_is_found(patient, padding):
    ct, pet, _ = patient
    ct[16:] = padding

    (finding,) = check(ct, pet)

    assert (finding.severity, finding.check, finding.file) == ("warning", "field-of-view", "ct")
    assert f"mostly {padding}" in finding.found


def test_a_ct_cut_at_one_side_is_found(patient):
    ct, pet, _ = patient
    ct[:, :, 25:] = -1024

    assert [finding.file for finding in check(ct, pet)] == ["ct"]


def test_a_pet_that_ends_before_the_ct_is_found(patient):
    ct, pet, _ = patient
    pet[:8] = 0

    (finding,) = check(ct, pet)

    assert finding.file == "pet" and "CT shows soft tissue" in finding.found


def test_air_that_a_ct_clips_to_one_value_is_no_fault(patient):
    ct, pet, _ = patient
    pet += 0.1 * np.random.default_rng(0).random(pet.shape, np.float32)

    assert check(np.maximum(ct, -980), pet) == []


def test_unmeasured_needs_equal_neighbours_along_every_axis():
    volume = np.zeros((5, 5, 5), np.float32)
    volume[2, 2, 2] = 1

    assert (~unmeasured(volume)).sum() == 7  # the voxel and its six neighbours
