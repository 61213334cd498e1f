import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from h2aseg_nnunet.petct.report.patient import Marked, Patient, Spot
from h2aseg_nnunet.petct.report.projections import projections, thumbnail
from tests.unit.petct.report.test_panel import lesion

SPACING_MM = (5.0, 3.0, 2.0)  # z, y, x
SHAPE = (40, 30, 50)
HOT = (33, 4, 45)  # near the head, in front, on the patient's left


@pytest.fixture
def patient():
    suv, bits = np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.uint8)
    suv[HOT], bits[HOT] = 12, 2
    spot = Spot(lesion("M1"), tuple(slice(at, at + 1) for at in HOT), np.ones((1, 1, 1), bool))
    return Patient(np.zeros(SHAPE), suv, SPACING_MM, (0.0, 0.0, 0.0), [Marked([spot], bits)])


def drawn(patient):
    (marked,) = patient.classes
    return projections(patient, marked, marked.spots, 10.0, "one lesion")


def pixels(panel):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(panel.image.split(",")[1]))))


def box(panel):
    """Left, top, right and bottom of the only outline."""
    ((_, path),) = panel.outlines
    points = np.array(re.findall(r"([\d.]+) ([\d.]+)", path), float)
    return [*points.min(axis=0), *points.max(axis=0)]


def test_both_projections_have_the_patients_proportions_and_one_scale(patient):
    coronal, sagittal = drawn(patient)

    assert coronal.width / coronal.height == pytest.approx((50 * 2) / (40 * 5))
    assert sagittal.width / sagittal.height == pytest.approx((30 * 3) / (40 * 5))
    assert coronal.height == sagittal.height
    assert coronal.scale_bar == sagittal.scale_bar
    assert coronal.scale_bar.length / 20 == pytest.approx(coronal.width / (50 * 2))  # 2 cm
    assert coronal.scale_bar.text == "2 cm"


def test_hot_voxel_is_black_at_the_point_where_it_lies(patient):
    coronal, sagittal = drawn(patient)

    assert np.argwhere(pixels(coronal) == 0).tolist() == [[39 - 33, 45]]
    assert np.argwhere(pixels(sagittal) == 0).tolist() == [[39 - 33, 4]]
    assert (pixels(coronal) == 255).sum() == 40 * 50 - 1


def test_outline_surrounds_the_voxel_in_millimeters(patient):
    coronal, sagittal = drawn(patient)
    scale = coronal.height / (40 * 5)

    top, bottom = 6 * 5, 7 * 5
    assert box(coronal) == pytest.approx(np.multiply([45 * 2, top, 46 * 2, bottom], scale), abs=0.06)
    assert box(sagittal) == pytest.approx(np.multiply([4 * 3, top, 5 * 3, bottom], scale), abs=0.06)
    assert coronal.outlines[0].kind == "missed"


def test_lesion_is_named_beside_it(patient):
    coronal, _ = drawn(patient)
    (label,) = coronal.labels
    left, top, right, bottom = box(coronal)
    assert label.text == "M1" and top < label.y < bottom
    assert label.x < left or label.x > right


def test_thumbnail_shows_the_outlines_of_all_classes(patient):
    other = np.zeros(SHAPE, np.uint8)
    other[2, 2, 2] = 8
    both = patient._replace(classes=[*patient.classes, Marked([], other)])

    assert [outline.kind for outline in thumbnail(both, 10.0).outlines] == ["missed", "false"]
    assert max(thumbnail(both, 10.0)[1:3]) <= 260
