"""PET and label moved against the CT of a small patient: what is seen, and what cannot be."""

import numpy as np
import pytest

from h2aseg_nnunet.petct.check.coarse import coarse_pair
from h2aseg_nnunet.petct.check.registration import check_registration, shifted_correlation
from h2aseg_nnunet.petct.images.grids import Grid


def check(ct, pet, label, spacing_mm=4.0):
    grid = Grid(ct.shape[::-1], (spacing_mm,) * 3, (0.0, 0, 0), (1.0, 0, 0, 0, 1, 0, 0, 0, 1))
    return check_registration(coarse_pair(ct, pet, label > 0, grid), "ct", "pet", "label")


def test_a_good_patient_gives_no_finding(patient):
    assert check(*patient) == []


@pytest.mark.parametrize("axis", [1, 2])
def test_a_pet_moved_across_the_body_is_found_with_its_distance(patient, axis):
    ct, pet, label = patient

    findings = check(ct, np.roll(pet, 8, axis), label)

    assert any("moved by 32 mm" in finding.found for finding in findings)
    assert {finding.severity for finding in findings} == {"warning"}


def test_a_pet_upside_down_is_found(patient):
    ct, pet, label = (np.stack([np.roll(v[z], z // 3 - 4, axis=0) for z in range(len(v))]) for v in patient)  # oblique

    findings = check(ct, pet[:, ::-1], label)

    assert any("mirrored along the" in finding.found for finding in findings)


def test_a_tumour_in_the_air_beside_the_body_is_found_although_the_outlines_agree(patient):
    ct, pet, label = patient
    pet[6:11, 0:4, 16:21] = 8  # the body begins at row 4

    (finding,) = check(ct, pet, label)

    assert "SUV 3 to 8.0 lie in the air of ct" in finding.found and finding.file == "pet"


def test_scattered_hot_voxels_in_the_air_are_no_displaced_tumour(patient):
    ct, pet, label = patient
    pet[2::4, 1, 4:36:4] = 8  # 48 voxels or 3 ml, none next to another

    assert check(ct, pet, label) == []


def test_the_scanners_blur_of_a_tumour_under_the_skin_is_no_misregistration(patient):
    from scipy.ndimage import gaussian_filter

    ct, pet, label = patient
    skin = (ct > -500) & (np.indices(ct.shape)[1] < 8) & (label.any(axis=1, keepdims=True))
    pet[skin] = 30
    fwhm_mm = 8

    assert check(ct, gaussian_filter(pet, fwhm_mm / 2.355 / 4), label) == []


def test_a_lung_tumour_displaced_by_breathing_is_no_misregistration(patient):
    ct, pet, label = patient
    pet[17:20, 13:16, 17:20] = 10  # hot, where the CT shows lung

    assert check(ct, pet, label) == []


def test_a_label_in_the_air_is_found(patient):
    ct, pet, label = patient

    (finding,) = check(ct, pet, np.roll(label, -6, axis=1))

    assert finding.file == "label" and "of the lesion volume lies in the CT's air" in finding.found


def test_an_empty_label_and_a_pet_without_counts_are_no_matter_of_registration(patient):
    ct, pet, label = patient

    assert check(ct, 0 * pet, 0 * label) == []


def test_a_box_inside_the_body_has_no_outline_to_compare(patient):
    ct, pet, label = (volume[:12, 8:20, 12:26] for volume in patient)

    assert check(ct, pet, label) == []


def test_correlation_of_shifted_volumes_is_pearsons_over_their_overlap():
    rng = np.random.default_rng(0)
    fixed, moving = rng.random((2, 6, 7, 8))

    correlation = shifted_correlation(fixed, moving, [2, 1, 2])

    assert correlation.shape == (5, 3, 5)
    for (dz, dy, dx), (a, b) in {
        (0, 0, 0): (fixed, moving),
        (2, 0, 0): (fixed[2:], moving[:-2]),
        (-1, 1, 2): (fixed[:-1, 1:, 2:], moving[1:, :-1, :-2]),
    }.items():
        expected = np.corrcoef(a.ravel(), b.ravel())[0, 1]
        np.testing.assert_allclose(correlation[2 + dz, 1 + dy, 2 + dx], expected, rtol=1e-9)
