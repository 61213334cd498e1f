"""PET as converters leave it. The patient has soft tissue of SUV 0.4 to 0.7 and a tumor of 8."""

import numpy as np
import pytest
from scipy import ndimage

from h2aseg_nnunet.petct.check.conversion import check_conversion
from h2aseg_nnunet.petct.check.values import is_soft_tissue
from tests.unit.petct.check.conftest import make_patient

INT16 = 65536


@pytest.fixture
def ct_and_pet():
    """Blurred as by a scanner."""
    ct, pet, _ = make_patient()
    return ct, ndimage.gaussian_filter(pet, 0.6)


def check(ct, pet, axial=0):
    findings = check_conversion(pet.astype(np.float32), is_soft_tissue(ct), axial, "pet")
    assert all(finding.found and finding.remedy for finding in findings)
    return [(finding.severity, finding.check) for finding in findings]


def test_a_good_pet_gives_no_finding(ct_and_pet):
    ct, pet = ct_and_pet

    assert check(ct, pet) == []
    assert check_conversion(pet, None, 0, "pet") == []


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("axial", [0, 1, 2])
def test_lost_slopes_are_an_error_whatever_the_axis_of_the_slices(ct_and_pet, seed, axial):
    ct, pet = (np.moveaxis(image, 0, axial) for image in ct_and_pet)
    scales = np.random.default_rng(seed).uniform(0.5, 2, pet.shape[axial])
    scaled = np.moveaxis(np.moveaxis(pet, axial, 0) * scales[:, None, None], 0, axial)

    assert check(ct, scaled, axial) == [("error", "pet-slopes")]
    assert [f.check for f in check_conversion(scaled, None, axial, "pet")] == ["pet-slopes"]


def test_smaller_differences_between_slices_are_a_warning(ct_and_pet):
    ct, pet = ct_and_pet
    scales = np.where(np.arange(len(pet)) % 2, 1.15, 1.0)

    assert check(ct, pet * scales[:, None, None]) == [("warning", "pet-slopes")]


def test_slices_that_each_fill_their_type_are_an_error(ct_and_pet):
    ct, pet = ct_and_pet

    assert check(ct, pet / pet.max(axis=(1, 2), keepdims=True)) == [("error", "pet-slopes")]


def test_signed_overflow_is_an_error_whose_remedy_keeps_the_lesion(ct_and_pet):
    ct, pet = ct_and_pet
    step = pet.max() / INT16  # the hottest reach twice what the type holds
    stored = np.rint(pet / step).astype(np.int64).astype(np.int16)

    assert check(ct, stored * step) == [("error", "pet-overflow")]
    (finding,) = check_conversion(stored.astype(np.float32), None, 0, "pet")
    assert "overflowed" in finding.found and "Do not set these voxels to 0" in finding.remedy


def test_unsigned_overflow_leaves_sharp_holes(ct_and_pet):
    ct, pet = ct_and_pet
    pet = ndimage.zoom(pet, 2, order=1)
    step = 0.8 * pet.max() / INT16
    stored = np.rint(pet / step).astype(np.int64).astype(np.uint16)

    assert check(ndimage.zoom(ct, 2, order=1), stored * step) == [("warning", "pet-overflow")]


def test_the_overshoot_of_splines_is_no_overflow(ct_and_pet):
    ct, pet = ct_and_pet

    assert check(ct, ndimage.zoom(ndimage.zoom(pet, 0.5, order=3), 2, order=3)) == []


def test_a_standardized_image_is_no_overflow(ct_and_pet):
    ct, pet = ct_and_pet

    assert check(ct, (pet - pet.mean()) / pet.std()) == []  # told by its share of negative voxels


@pytest.mark.parametrize("to_integers", [np.rint, np.floor, lambda pet: np.rint(pet * 10 / pet.max())])
def test_lost_decimals_are_an_error(ct_and_pet, to_integers):
    ct, pet = ct_and_pet

    assert check(ct, to_integers(pet)) == [("error", "pet-integer")]


def test_few_values_that_are_no_whole_numbers_are_a_warning(ct_and_pet):
    ct, pet = ct_and_pet

    assert check(ct, np.where(pet > 2, 8.5, np.where(pet > 0.3, 0.6, 0.1))) == [("warning", "pet-integer")]


def test_8_bits_that_are_finer_than_the_noise_are_right(ct_and_pet):
    ct, pet = ct_and_pet
    step = pet.clip(max=3).max() / 255

    assert check(ct, np.rint(pet.clip(max=3) / step) * step) == [("warning", "pet-cut")]
    assert check(ct, np.rint(pet / step) * step) == []


def test_cut_uptake_is_a_warning(ct_and_pet):
    ct, pet = ct_and_pet

    assert check(ct, pet.clip(max=2.5)) == [("warning", "pet-cut")]


@pytest.mark.parametrize("lost", [[10], [10, 11]])
@pytest.mark.parametrize("filled", ["empty", "copies"])
def test_missing_slices_are_a_warning(ct_and_pet, lost, filled):
    ct, pet = ct_and_pet
    pet[lost] = 0 if filled == "empty" else pet[9]

    assert check(ct, pet) == [("warning", "pet-slices")]


def test_padding_at_the_ends_is_not_missing(ct_and_pet):
    ct, pet = ct_and_pet
    pet[:2], pet[-2:] = 0, pet[-3]

    assert check(ct, pet) == []
