import pytest

from h2aseg_nnunet.petct.report.findings import Finding
from h2aseg_nnunet.petct.report.panel import Frame, place_labels, scale_bar

WIDTH, HEIGHT = 300.0, 600.0


def finding(name):
    return Finding(name, "found", 1.0, 5.0, 3.0, 3.0, 1.0, (0, 0, 0), (0, 0, 0))


@pytest.mark.parametrize(("width_mm", "text", "mm"), [(1200, "20 cm", 200), (450, "10 cm", 100), (140, "2 cm", 20)])
def test_scale_bar_is_the_longest_round_length_within_a_third(width_mm, text, mm):
    assert scale_bar(width_mm, units_per_mm=0.5) == (mm * 0.5, text)


def test_scale_bar_of_a_tiny_picture():
    assert scale_bar(9, 10).text == "0.5 cm"


def test_name_stands_to_the_right_of_its_lesion():
    (label,) = place_labels([(finding("T1"), Frame(100, 200, 20, 30))], WIDTH, HEIGHT)
    assert label.x > 120 and label.y == 215


def test_name_stays_inside_the_picture():
    (label,) = place_labels([(finding("T1"), Frame(280, 590, 20, 10))], WIDTH, HEIGHT)
    assert label.inside(WIDTH, HEIGHT)


def test_names_do_not_cover_each_other():
    crowd = [(finding(f"T{i}"), Frame(150 + i, 300, 4, 4)) for i in range(9)]
    labels = place_labels(crowd, WIDTH, HEIGHT)

    assert len(labels) == 9
    assert not any(one.meets(other) for one in labels for other in labels if one is not other)


def test_a_lesion_that_fills_the_picture_still_has_its_name():
    (label,) = place_labels([(finding("T1"), Frame(0, 0, WIDTH, HEIGHT))], WIDTH, HEIGHT)
    assert label.text == "T1"
