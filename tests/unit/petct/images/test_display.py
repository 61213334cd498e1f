import base64
import io

import numpy as np
import pytest
from PIL import Image

from h2aseg_nnunet.petct.images.display import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    as_seen,
    ct_gray,
    fused,
    hot_metal,
    jpeg_uri,
    maximum_projection,
    pet_gray,
    pixel_size_mm,
    png_uri,
    seen_box,
    shadow,
)

SHAPE = (5, 4, 3)  # head, back, left
HEAD_FRONT_RIGHT = (4, 0, 0)


def test_pet_is_white_without_uptake_and_black_from_the_highest_suv_on():
    assert pet_gray(np.array([-1.0, 0, 5, 10, 40]), max_suv=10).tolist() == [255, 255, 128, 0, 0]


def test_ct_window_is_soft_tissue():
    assert ct_gray(np.array([-1000, -160, 40, 240, 3000], np.int16)).tolist() == [0, 0, 128, 255, 255]


def test_fused_is_ct_where_nothing_is_taken_up():
    assert fused(np.array([40.0]), np.array([0.0]), 10).tolist() == [[128, 128, 128]]


def test_fused_uptake_is_colored_over_any_ct():
    over_air, over_bone = fused(np.array([-1000.0, 1000.0]), np.array([5.0, 5.0]), 10)
    assert over_air[0] > over_air[2] + 100
    assert over_bone[0] > over_bone[2] + 100


@pytest.mark.parametrize(("value", "color"), [(0, (0, 0, 0)), (1 / 3, (1, 0, 0)), (2 / 3, (1, 1, 0)), (1, (1, 1, 1))])
def test_hot_metal(value, color):
    assert hot_metal(np.array([value])).tolist() == pytest.approx(color)


@pytest.mark.parametrize(("encode", "tolerance"), [(png_uri, 0), (jpeg_uri, 6)])
def test_pixels_come_back_from_the_page(encode, tolerance):
    pixels = np.linspace(0, 255, 64 * 48).reshape(64, 48).astype(np.uint8)
    picture = Image.open(io.BytesIO(base64.b64decode(encode(pixels).split(",")[1])))
    assert np.abs(np.asarray(picture).astype(int) - pixels).max() <= tolerance


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
