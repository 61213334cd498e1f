import numpy as np

from h2aseg_nnunet.petct.check.coarse import block_means, coarse_pair, depth_mm, inside_body
from h2aseg_nnunet.petct.images.grids import Grid

IDENTITY = (1.0, 0, 0, 0, 1, 0, 0, 0, 1)


def test_block_means_leave_out_what_fills_no_block():
    volume = np.arange(2 * 3 * 5, dtype=np.float32).reshape(2, 3, 5)

    means = block_means(volume, np.array([2, 1, 2]))

    assert means.shape == (1, 3, 2)
    assert means[0, 0, 0] == np.mean([0, 1, 15, 16])


def test_a_pair_has_about_4_mm_whatever_the_spacing(patient):
    ct, pet, label = patient
    grid = Grid(ct.shape[::-1], (1.0, 2.036, 3.0), (0.0, 0, 0), IDENTITY)

    pair = coarse_pair(ct, pet, label > 0, grid)

    np.testing.assert_allclose(pair.spacing_mm, (3.0, 4.072, 4.0))
    assert pair.ct.shape == pair.pet.shape == pair.label.shape == (24, 15, 10)
    np.testing.assert_allclose(pair.voxel_ml, 3 * 4.072 * 4 / 1000)


def test_axial_slices_come_first_in_sagittal_images(patient):
    ct, pet, _ = patient
    sagittal = Grid(ct.shape, (4.0,) * 3, (0.0, 0, 0), (0.0, 0, 1, 0, 1, 0, 1, 0, 0))  # array axis 2 is the height

    pair = coarse_pair(ct.transpose(2, 1, 0), pet.transpose(2, 1, 0), None, sagittal)

    np.testing.assert_array_equal(pair.ct, ct.transpose(0, 2, 1))


def test_lungs_are_inside_the_body_and_air_is_not(patient):
    ct = patient[0].astype(np.float32)

    inside = inside_body(ct)

    assert inside[20, 14, 19] and ct[20, 14, 19] < -700  # lung
    assert not inside[20, 0, 0]


def test_depth_counts_millimetres_from_the_nearest_voxel_outside():
    region = np.ones((1, 1, 5), bool)
    region[0, 0, 0] = False

    np.testing.assert_array_equal(depth_mm(region, np.array([1, 1, 3.0]))[0, 0], [0, 3, 6, 9, 12])
    assert np.isinf(depth_mm(region[:, :, 1:], np.ones(3))).all()
