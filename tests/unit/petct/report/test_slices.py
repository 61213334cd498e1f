import numpy as np
import pytest

from h2aseg_nnunet.petct.report.patient import Marked, Patient, Spot
from h2aseg_nnunet.petct.report.slices import close_up, slice_row
from tests.unit.petct.report.test_panel import lesion
from tests.unit.petct.report.test_projections import box, pixels

SHAPE = (20, 120, 150)
SPACING_MM = (5.0, 4.0, 3.0)  # z, y, x
LESION = (slice(6, 9), slice(50, 53), slice(100, 104))


@pytest.fixture
def patient():
    """A lesion that is largest in slice 7, and a marker voxel in the slice's front right corner."""
    ct, suv, bits = np.full(SHAPE, -1000.0), np.zeros(SHAPE), np.zeros(SHAPE, np.uint8)
    mask = np.zeros([part.stop - part.start for part in LESION], bool)
    mask[0, 0, 0] = mask[2, 0, 0] = mask[1] = True
    ct[LESION][mask], suv[LESION][mask], bits[LESION][mask] = 300, 20, 8
    spot = Spot(lesion("F1"), LESION, mask)
    return Patient(ct, suv, SPACING_MM, (500.0, 10.0, -30.0), [Marked([spot], bits)])


def row(patient):
    (marked,) = patient.classes
    return slice_row(patient, marked, marked.spots[0], 10.0)


def test_slice_is_the_one_in_which_the_lesion_is_largest(patient):
    _, ct, pet, _ = row(patient).panels

    assert row(patient).height_mm == 500 + 7 * 5
    assert np.count_nonzero(pixels(ct) == 255) == np.count_nonzero(pixels(pet) == 0) == 3 * 4


def test_whole_slice_is_followed_by_close_ups_of_its_frame(patient):
    whole, ct, pet, both = row(patient).panels
    scale = whole.height / (120 * 4)

    assert whole.width / whole.height == pytest.approx(150 * 3 / (120 * 4))
    assert whole.frame.width == pytest.approx(47 * 3 * scale)  # 140 mm
    assert whole.frame.height == pytest.approx(35 * 4 * scale)
    left, top, right, bottom = box(whole)
    assert whole.frame.left < left < right < whole.frame.left + whole.frame.width
    assert whole.frame.top < top < bottom < whole.frame.top + whole.frame.height
    for panel in (ct, pet, both):
        assert pixels(panel).shape[:2] == (35, 47)
        assert panel.width / panel.height == pytest.approx(47 * 3 / (35 * 4))
        assert panel.outlines[0].kind == "false"


def test_outline_lies_on_the_pixels_of_the_lesion(patient):
    _, ct, _, _ = row(patient).panels
    rows, columns = np.nonzero(pixels(ct) == 255)
    height, width = ct.height / 35, ct.width / 47

    expected = [columns.min() * width, rows.min() * height, (columns.max() + 1) * width, (rows.max() + 1) * height]
    assert box(ct) == pytest.approx(expected, abs=0.06)


def test_axial_front_is_at_the_top_and_the_right_side_at_the_left(patient):
    patient.ct_hu[7, 0, 0] = 300  # front right
    whole, *_ = row(patient).panels

    assert pixels(whole)[0, 0].min() > 200
    assert (whole.view.top, whole.view.left) == ("A", "R")


def test_close_up_of_a_lesion_at_the_border_stays_inside():
    rows, columns = close_up((slice(0, 2), slice(148, 150)), (120, 150), (4.0, 3.0))
    assert (rows.start, columns.stop) == (0, 150)


def test_close_up_of_a_large_lesion_shows_its_surroundings():
    rows, columns = close_up((slice(30, 80), slice(60, 70)), (240, 300), (4.0, 3.0))
    assert (rows.start, rows.stop) == (30 - 8, 80 + 7)  # 2 x 30 mm are 15 voxels
    assert columns.stop - columns.start == 87


def test_small_slice_is_shown_whole_and_once(patient):
    small = Patient(
        patient.ct_hu[:, 40:70, 80:130], patient.suv[:, 40:70, 80:130], SPACING_MM, patient.origin_mm, patient.classes
    )
    box = (LESION[0], slice(10, 13), slice(20, 24))
    (marked,) = patient.classes
    marked = Marked([marked.spots[0]._replace(box=box)], marked.outlines[:, 40:70, 80:130])

    panels = slice_row(small, marked, marked.spots[0], 10.0).panels

    assert [panel.caption for panel in panels] == ["CT", "PET", "PET over CT"]
    assert all(pixels(panel).shape[:2] == (30, 50) for panel in panels)
