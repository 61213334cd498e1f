import numpy as np

from h2aseg_nnunet.petct.images.views import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    as_seen,
    maximum_projection,
    pixel_size_mm,
    seen_box,
    shadow,
)

SHAPE = (5, 4, 3)  # head, back, left
HEAD_FRONT_RIGHT = (4, 0, 0)


def hot(z, y, x):
    volume = np.zeros(SHAPE, np.uint8)
    volume[z, y, x] = 1
    return volume


def where(picture):
    return tuple(np.argwhere(picture)[0].tolist())


def test_coronal_shows_the_head_at_the_top_and_the_right_side_at_the_left():
    assert where(maximum_projection(hot(*HEAD_FRONT_RIGHT), CORONAL)) == (0, 0)
    assert (CORONAL.left, CORONAL.right, CORONAL.top) == ("R", "L", "H")


def test_sagittal_faces_left():
    assert where(maximum_projection(hot(*HEAD_FRONT_RIGHT), SAGITTAL)) == (0, 0)
    assert where(maximum_projection(hot(0, 3, 0), SAGITTAL)) == (4, 3)
    assert (SAGITTAL.left, SAGITTAL.right) == ("A", "P")


def test_axial_is_seen_from_the_feet_with_the_front_at_the_top():
    assert where(as_seen(hot(2, 0, 0)[2], AXIAL)) == (0, 0)
    assert (AXIAL.left, AXIAL.right, AXIAL.top, AXIAL.bottom) == ("R", "L", "A", "P")


def test_shadow_keeps_every_bit_along_the_ray():
    bits = hot(1, 0, 2) * 4 + hot(1, 3, 2) * 8
    assert shadow(bits, CORONAL)[3, 2] == 12


def test_a_box_is_where_its_voxels_are_projected():
    volume = np.zeros(SHAPE, np.uint8)
    box = (slice(1, 3), slice(2, 4), slice(0, 2))
    volume[box] = 1
    for view in (AXIAL, CORONAL, SAGITTAL):
        expected = np.zeros_like(picture := as_seen(volume.max(axis=view.axis), view))
        expected[seen_box(box, SHAPE[0], view)] = 1
        np.testing.assert_array_equal(picture, expected)


def test_pixels_take_the_spacing_of_the_axes_that_remain():
    assert pixel_size_mm((5.0, 3.0, 2.0), CORONAL) == (5.0, 2.0)
    assert pixel_size_mm((5.0, 3.0, 2.0), SAGITTAL) == (5.0, 3.0)
    assert pixel_size_mm((5.0, 3.0, 2.0), AXIAL) == (3.0, 2.0)
