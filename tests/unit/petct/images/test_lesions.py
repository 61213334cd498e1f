import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from h2aseg_nnunet.petct.images.lesions import Lesion, label_components, lesions

SMALL_MASKS = arrays(np.uint8, st.tuples(*[st.integers(1, 6)] * 3), elements=st.integers(0, 1))
EIGHTEEN = ndimage.generate_binary_structure(3, 2)


def two_lesions():
    """A bar of 3 voxels along x and a single voxel."""
    mask = np.zeros((4, 5, 6), np.uint8)
    mask[1, 2, 1:4] = 1
    mask[3, 4, 5] = 1
    return mask


def test_voxels_that_share_an_edge_are_one_lesion():
    mask = np.zeros((3, 3, 3))
    mask[0, 0, 1] = mask[0, 1, 2] = mask[1, 2, 2] = 1

    assert label_components(mask)[1] == 1


def test_voxels_that_share_a_corner_only_are_two_lesions():
    mask = np.zeros((3, 3, 3))
    mask[0, 0, 0] = mask[1, 1, 1] = 1

    assert label_components(mask)[1] == 2


def test_labels_of_the_mask_do_not_divide_a_lesion():
    assert label_components(np.array([[[1, 2, 0, 5]]]))[1] == 2


def test_diagonal_neighbours_in_a_slice_are_one_lesion():
    labels, count = label_components(np.eye(3))

    assert count == 1
    assert labels.shape == (3, 3)


@settings(deadline=None)
@given(SMALL_MASKS)
def test_components_are_those_of_scipy(mask):
    labels, count = label_components(mask)
    expected, expected_count = ndimage.label(mask, EIGHTEEN)

    assert count == expected_count
    pairs = set(zip(labels.ravel().tolist(), expected.ravel().tolist(), strict=True))
    assert len(pairs) == len({pair[0] for pair in pairs}) == len({pair[1] for pair in pairs})


def test_an_empty_mask_has_no_lesions():
    assert lesions(np.zeros((2, 2, 2)), (1, 1, 1)) == []


def test_size_and_position_follow_the_axes_of_the_array():
    bar, point = lesions(two_lesions(), spacing_mm=(5, 2, 3))

    assert bar == Lesion(1, pytest.approx(3 * 30 / 1000), (1, 2, 2), (slice(1, 2), slice(2, 3), slice(1, 4)))
    assert point.volume_ml == pytest.approx(30 / 1000)
    assert point.centroid == (3, 4, 5)


def test_one_voxel_of_the_other_mask_touches():
    other = np.zeros((4, 5, 6))
    other[1, 2, 3] = 2

    assert [lesion.touched for lesion in lesions(two_lesions(), (1, 1, 1), other=other)] == [True, False]


def test_touching_needs_a_shared_voxel_not_a_neighbour():
    other = np.zeros((4, 5, 6))
    other[1, 2, 4] = 1

    assert not any(lesion.touched for lesion in lesions(two_lesions(), (1, 1, 1), other=other))


def test_uptake_of_each_lesion():
    suv = np.full((4, 5, 6), 100.0)
    suv[1, 2, 1:4] = 2, 4, 9
    suv[3, 4, 5] = 7

    bar, point = lesions(two_lesions(), (10, 10, 10), suv=suv)

    assert (bar.suv_max, bar.suv_mean, bar.tlg) == pytest.approx((9, 5, 15))
    assert (point.suv_max, point.suv_mean, point.tlg) == pytest.approx((7, 7, 7))


def test_negative_suv_is_a_maximum_too():
    (lesion,) = lesions(np.ones((1, 1, 2)), (1, 1, 1), suv=np.array([[[-2.0, -1.0]]]))

    assert lesion.suv_max == -1


def test_without_pet_there_is_no_uptake():
    assert all(lesion[-3:] == (None, None, None) for lesion in lesions(two_lesions(), (1, 1, 1)))


def test_in_two_dimensions():
    (lesion,) = lesions(np.array([[0, 1, 1]]), (2, 3))

    assert lesion.centroid == (0, 1.5)
    assert lesion.bounding_box == (slice(0, 1), slice(1, 3))


@settings(deadline=None)
@given(SMALL_MASKS)
def test_lesions_add_up_to_the_mask(mask):
    found = lesions(mask, (1, 2, 3), other=mask)

    assert sum(lesion.volume_ml for lesion in found) == pytest.approx(np.count_nonzero(mask) * 6 / 1000)
    assert all(lesion.touched and mask[lesion.bounding_box].any() for lesion in found)


@pytest.mark.parametrize("spacing_mm", [(1, 1), (1, 1, 0), (1, 1, -2), (1, 1, np.nan)])
def test_a_spacing_that_does_not_fit_is_refused(spacing_mm):
    with pytest.raises(ValueError, match="spacing_mm"):
        lesions(np.ones((2, 2, 2)), spacing_mm)


@pytest.mark.parametrize("name", ["other", "suv"])
def test_another_shape_is_refused(name):
    with pytest.raises(ValueError, match=rf"{name} has shape \(2, 2, 3\), not \(2, 2, 2\)"):
        lesions(np.ones((2, 2, 2)), (1, 1, 1), **{name: np.ones((2, 2, 3))})


@pytest.mark.slow
def test_a_whole_body_case_with_many_lesions_takes_seconds():
    """A loop over these 20,000 lesions with full-size masks would take a quarter of an hour."""
    mask = np.zeros((326, 400, 400), np.uint8)
    mask[8:-8:12, 8:-8:12, 8:-8:12] = 1
    suv = np.ones(mask.shape, np.float32)

    start = time.process_time()
    found = lesions(mask, (3, 2.04, 2.04), other=mask, suv=suv)

    assert len(found) == np.count_nonzero(mask) > 20_000
    assert time.process_time() - start < 30
