"""What is no CT in HU and no PET in SUV, made from a CT and PET that are."""

import numpy as np
import pytest

from h2aseg_nnunet.petct.check.values import check_constant, check_ct, check_order, check_pet, is_soft_tissue, sample


def kinds(findings) -> list[tuple[str, str]]:
    return [(finding.severity, finding.check) for finding in findings]


@pytest.fixture
def ct(patient):
    return patient[0]


@pytest.fixture
def pet(patient):
    return patient[1]


def test_a_good_patient_gives_no_finding(ct, pet):
    assert check_constant(ct, "ct") == check_constant(pet, "pet") == check_ct(ct, "ct") == []
    assert check_order(ct, pet, "ct", "pet") == check_pet(pet, is_soft_tissue(ct), "pet") == []


@pytest.mark.parametrize("padding", [-1024, -2000, -3024, -32768])
def test_padding_around_the_field_of_view_is_no_fault_of_the_unit(ct, padding):
    ct[:, :, :6] = padding

    assert check_ct(ct, "ct") == []


@pytest.mark.parametrize("highest", [1500, 3071, 30000])
def test_metal_is_no_fault_of_the_unit(ct, highest):
    ct[10:14, 10:14, 10:14] = highest

    assert check_ct(ct, "ct") == []


def test_a_constant_channel_is_an_error():
    (finding,) = check_constant(np.full((3, 4, 5), 7.0), "pet")

    assert kinds([finding]) == [("error", "constant")]
    assert "7" in finding.found


def test_stored_values_without_the_rescale_intercept(ct):
    (finding,) = check_ct(ct.astype(np.int32) + 1024, "ct")

    assert kinds([finding]) == [("error", "ct-unit")]
    assert "subtract 1024" in finding.remedy


def test_stored_values_with_padding_below_them(ct):
    ct = ct.astype(np.int32) + 1024
    ct[:, :, :6] = -2000

    assert kinds(check_ct(ct, "ct")) == [("error", "ct-unit")]


def test_the_intercept_applied_twice(ct):
    assert kinds(check_ct(ct.astype(np.int32) - 1024, "ct")) == [("error", "ct-unit")]


@pytest.mark.parametrize(
    "convert",
    [
        lambda hu: ((np.clip(hu, -160, 240) + 160) / 400 * 255).astype(np.uint8),
        lambda hu: np.clip(hu, -160, 240),
        lambda hu: (hu - hu.min()) / np.ptp(hu.astype(float)),
        lambda hu: (hu - hu.mean()) / hu.std(),
    ],
    ids=["8 bit", "soft-tissue window", "0 to 1", "standardised"],
)
def test_windowed_or_normalised_ct_is_an_error(ct, convert):
    found = check_ct(convert(ct), "ct")

    assert ("error", "ct-unit") in kinds(found)


@pytest.mark.parametrize("window", [(-400, 400), (-1024, 250)])
def test_a_wide_window_that_cuts_air_or_bone_is_a_warning(ct, window):
    found = kinds(check_ct(np.clip(ct, *window), "ct"))

    assert ("warning", "ct-window") in found and {severity for severity, _ in found} == {"warning"}


def test_air_at_another_level_is_a_warning(ct):
    ct = np.where(ct < -300, ct // 2, ct)

    assert ("warning", "ct-air") in kinds(check_ct(ct, "ct"))


def test_a_ct_without_air_is_a_warning_only():
    ct = np.random.default_rng(0).normal(50, 20, (20, 20, 20))
    ct[5, 5] = np.linspace(200, 900, 20)  # bone

    assert kinds(check_ct(ct, "ct")) == [("warning", "ct-air")]


def test_swapped_channels(ct, pet):
    (finding,) = check_order(pet, ct, "a_0000.nii.gz", "a_0001.nii.gz")

    assert kinds([finding]) == [("error", "channel-order")]
    assert "swapped" in finding.found and "Rename" in finding.remedy


def test_ct_in_both_channels(ct):
    (finding,) = check_order(ct, ct, "a_0000.nii.gz", "a_0001.nii.gz")

    assert kinds([finding]) == [("error", "channel-order")]
    assert "swapped" not in finding.found


@pytest.mark.parametrize("bq_per_ml", [1500, 4000, 20000])
def test_activity_in_bq_per_ml_is_an_error_with_and_without_the_ct(ct, pet, bq_per_ml):
    for soft_tissue in (is_soft_tissue(ct), None):
        assert kinds(check_pet(pet * bq_per_ml, soft_tissue, "pet")) == [("error", "pet-unit")]


@pytest.mark.parametrize("scale", [0.004, 40])
def test_pet_of_another_scale_is_a_warning(ct, pet, scale):
    assert kinds(check_pet(pet * scale, is_soft_tissue(ct), "pet")) == [("warning", "pet-unit")]


@pytest.mark.parametrize("scale", [0.4, 2.5])
def test_patients_differ_in_the_uptake_of_soft_tissue(ct, pet, scale):
    assert check_pet(pet * scale, is_soft_tissue(ct), "pet") == []


def test_a_standardised_pet_is_an_error(ct, pet):
    (finding,) = check_pet((pet - pet.mean()) / pet.std(), is_soft_tissue(ct), "pet")

    assert kinds([finding]) == [("error", "pet-negative")]


def test_overshoot_of_a_spline_is_a_warning_that_names_the_value(ct, pet):
    pet[3, 3, 3] = -0.8

    (finding,) = check_pet(pet, is_soft_tissue(ct), "pet")

    assert kinds([finding]) == [("warning", "pet-negative")]
    assert "-0.8" in finding.found


def test_a_large_image_is_sampled_in_every_column():
    columns = np.broadcast_to(np.arange(100), (200, 200, 100)).copy()

    some = sample(columns)

    assert 500_000 < some.size <= 2_000_000
    assert set(np.unique(some)) == set(range(100))
