import re

import numpy as np

from h2aseg_nnunet.petct.report.outlines import outline_path

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
