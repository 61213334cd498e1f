import math

import numpy as np
import pytest

from h2aseg_nnunet.petct.images.peak import suv_peak

RADIUS_MM = (3000 / (4 * math.pi)) ** (1 / 3)  # of 1 ml: 6.2 mm


def test_in_even_uptake_the_peak_is_the_uptake():
    suv = np.full((20, 20, 20), 3.0)

    assert suv_peak(suv, suv > 0, (2.0, 2.0, 2.0)) == pytest.approx(3.0)


def test_a_single_hot_voxel_counts_by_its_share_of_a_milliliter():
    suv = np.zeros((21, 21, 21))
    suv[10, 10, 10] = 125.0  # of 1 mm: 0.001 ml

    assert suv_peak(suv, suv > 0, (1.0, 1.0, 1.0)) == pytest.approx(0.125, rel=0.01)


def test_the_sphere_lies_where_its_mean_is_highest():
    z = np.arange(40)[:, None, None] * np.ones((1, 40, 40))
    mask = (z >= 10) & (z <= 20)

    peak = suv_peak(z, mask, (1.0, 1.0, 1.0))

    assert peak == pytest.approx(20.0)  # uptake grows linearly: the sphere's mean is that of its center


def test_voxels_larger_than_the_sphere_keep_their_own_value():
    suv = np.arange(27.0).reshape(3, 3, 3)

    assert suv_peak(suv, suv == 13, (20.0, 20.0, 20.0)) == pytest.approx(13.0)


def test_at_the_images_border_the_part_inside_counts():
    suv = np.full((8, 8, 8), 2.0)
    mask = np.zeros(suv.shape, bool)
    mask[0, 0, 0] = True

    assert suv_peak(suv, mask, (3.0, 3.0, 3.0)) == pytest.approx(2.0)


def test_anisotropic_voxels_are_measured_in_millimeters():
    suv = np.zeros((21, 21, 21))
    suv[10, 10, 10] = 1.0

    assert suv_peak(suv, suv > 0, (3.0, 1.0, 1.0)) == pytest.approx(3 / 1000, rel=0.01)
