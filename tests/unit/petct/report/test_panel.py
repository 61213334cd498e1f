import re

import numpy as np
import pytest

from h2aseg_nnunet.petct.report.judge import JudgedLesion
from h2aseg_nnunet.petct.report.panel import Frame, outline_path, place_labels, scale_bar

WIDTH, HEIGHT = 300.0, 600.0


def lesion(name):
    return JudgedLesion(name, "found", 1.0, 5.0, 3.0, 3.0, 1.0, (0, 0, 0), (0, 0, 0))


@pytest.mark.parametrize(("width_mm", "text", "mm"), [(1200, "20 cm", 200), (450, "10 cm", 100), (140, "2 cm", 20)])
def test_scale_bar_is_the_longest_round_length_within_a_third(width_mm, text, mm):
    assert scale_bar(width_mm, units_per_mm=0.5) == (mm * 0.5, text)


def test_scale_bar_of_a_tiny_picture():
    assert scale_bar(9, 10).text == "0.5 cm"


def test_name_stands_to_the_right_of_its_lesion():
    (label,) = place_labels([(lesion("T1"), Frame(100, 200, 20, 30))], WIDTH, HEIGHT)
    assert label.x > 120 and label.y == 215


def test_name_stays_inside_the_picture():
    (label,) = place_labels([(lesion("T1"), Frame(280, 590, 20, 10))], WIDTH, HEIGHT)
    assert label.inside(WIDTH, HEIGHT)


def test_names_do_not_cover_each_other():
    crowd = [(lesion(f"T{i}"), Frame(150 + i, 300, 4, 4)) for i in range(9)]
    labels = place_labels(crowd, WIDTH, HEIGHT)

    assert len(labels) == 9
    assert not any(one.meets(other) for one in labels for other in labels if one is not other)


def test_a_lesion_that_fills_the_picture_still_has_its_name():
    (label,) = place_labels([(lesion("T1"), Frame(0, 0, WIDTH, HEIGHT))], WIDTH, HEIGHT)
    assert label.text == "T1"


HALF_A_FINE_PIXEL = 1 / 8


def rings(mask, height=1.0, width=1.0):
    """Points (x, y) of each closed line."""
    path = outline_path(np.asarray(mask), height, width)
    assert re.fullmatch(r"(M[-\d. L]+Z)*", path)
    return [np.array([point.split() for point in ring.split("L")], float) for ring in re.findall(r"M([^Z]+)Z", path)]


def test_outline_runs_along_the_edges_of_its_pixels():
    mask = np.zeros((5, 6), bool)
    mask[1:3, 2:4] = True

    (ring,) = rings(mask, height=2.0, width=3.0)

    assert ring.min(axis=0).tolist() == [2 * 3, 1 * 2]
    assert ring.max(axis=0).tolist() == [4 * 3, 3 * 2]
    assert len(ring) == 8  # four sides, each corner cut once


def test_outline_closes_at_the_edge_of_the_picture():
    (ring,) = rings(np.ones((2, 2), bool))
    assert ring.min() == 0 and ring.max() == 2


def test_hole_has_an_outline_of_its_own():
    mask = np.ones((5, 5), bool)
    mask[2, 2] = False

    sizes = sorted(np.ptp(ring, axis=0).max() for ring in rings(mask))

    assert sizes == [1, 5]


def test_area_of_a_single_pixel_is_a_pixel():
    mask = np.zeros((3, 3), bool)
    mask[1, 1] = True
    (ring,) = rings(mask, 100, 100)
    x, y = ring.T
    area = abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2

    assert area == 100 * 100 * (1 - 2 * HALF_A_FINE_PIXEL**2)  # four corners cut, each half a square


def test_pixels_that_touch_at_a_corner_have_outlines():
    assert sum(len(ring) for ring in rings(np.eye(2, dtype=bool))) >= 14


def test_nothing_has_no_outline():
    assert outline_path(np.zeros((3, 3), bool), 1, 1) == ""
