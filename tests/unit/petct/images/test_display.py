import base64
import io

import numpy as np
import pytest
from PIL import Image

from h2aseg_nnunet.petct.images.display import ct_grey, fused, hot_metal, jpeg_uri, pet_grey, png_uri


def test_pet_is_white_without_uptake_and_black_from_the_highest_suv_on():
    assert pet_grey(np.array([-1.0, 0, 5, 10, 40]), max_suv=10).tolist() == [255, 255, 128, 0, 0]


def test_ct_window_is_soft_tissue():
    assert ct_grey(np.array([-1000, -160, 40, 240, 3000], np.int16)).tolist() == [0, 0, 128, 255, 255]


def test_fused_is_ct_where_nothing_is_taken_up():
    assert fused(np.array([40.0]), np.array([0.0]), 10).tolist() == [[128, 128, 128]]


def test_fused_uptake_is_coloured_over_any_ct():
    over_air, over_bone = fused(np.array([-1000.0, 1000.0]), np.array([5.0, 5.0]), 10)
    assert over_air[0] > over_air[2] + 100
    assert over_bone[0] > over_bone[2] + 100


@pytest.mark.parametrize(("value", "colour"), [(0, (0, 0, 0)), (1 / 3, (1, 0, 0)), (2 / 3, (1, 1, 0)), (1, (1, 1, 1))])
def test_hot_metal(value, colour):
    assert hot_metal(np.array([value])).tolist() == pytest.approx(colour)


@pytest.mark.parametrize(("encode", "tolerance"), [(png_uri, 0), (jpeg_uri, 6)])
def test_pixels_come_back_from_the_page(encode, tolerance):
    pixels = np.linspace(0, 255, 64 * 48).reshape(64, 48).astype(np.uint8)
    picture = Image.open(io.BytesIO(base64.b64decode(encode(pixels).split(",")[1])))
    assert np.abs(np.asarray(picture).astype(int) - pixels).max() <= tolerance
