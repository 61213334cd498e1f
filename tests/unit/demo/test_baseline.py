import numpy as np
import pytest

from h2aseg_nnunet.demo.baseline import best_suv_threshold


def mask(*values):
    return np.array(values, dtype=np.uint8)


def test_best_threshold_separates_a_lesion_hotter_than_its_surroundings():
    pet_suv, lesions = np.array([1.0, 3.0, 5.0, 7.0]), mask(0, 0, 1, 1)
    assert best_suv_threshold([(pet_suv, lesions)], thresholds=[2, 4, 6]) == 4


def test_best_threshold_has_the_best_mean_over_cases():
    brain_and_lesion = np.array([9.0, 5.0]), mask(0, 1)  # Dice at SUV 2: 2/3, at 4: 2/3, at 6: 0
    two_lesions = np.array([3.0, 7.0]), mask(1, 1)  # Dice at SUV 2: 1, at 4: 2/3, at 6: 2/3
    assert best_suv_threshold([brain_and_lesion, two_lesions], thresholds=[6, 4, 2]) == 2


def test_cases_without_lesions_do_not_count():
    healthy = np.array([9.0, 9.0]), mask(0, 0)
    ill = np.array([1.0, 5.0]), mask(0, 1)
    assert best_suv_threshold([healthy, ill], thresholds=[0.5, 3]) == 3


def test_no_lesion_at_all_is_refused():
    with pytest.raises(ValueError, match="No case with a lesion"):
        best_suv_threshold([(np.array([9.0]), mask(0))], thresholds=[3])
