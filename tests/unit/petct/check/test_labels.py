import numpy as np
import pytest

from h2aseg_nnunet.petct.check import labels as labels_module
from h2aseg_nnunet.petct.labels import Labels


def check_label(voxels, values, ignore, file):
    return labels_module.check_label(
        voxels, Labels(values, {f"label {value}": (value,) for value in values if value}, ignore), file
    )


@pytest.fixture
def labels():
    labels = np.zeros((6, 7, 8), np.uint8)
    labels[1:3, 1:3, 1:3] = 1
    labels[4:6, 4:6, 4:6] = 2
    return labels


def test_declared_labels_are_right_and_reported_as_present(labels):
    assert check_label(labels, (0, 1, 2), None, "label") == ([], {0, 1, 2})


def test_an_undeclared_value_is_an_error_with_its_number_of_voxels(labels):
    (finding,), present = check_label(labels, (0, 1), None, "label")

    assert (finding.severity, finding.check) == ("error", "label-values")
    assert finding.found == "holds the value 2 in 8 voxels" and finding.expected == "one of [0, 1]"
    assert present == set()


@pytest.mark.parametrize(
    ("value", "remedy"),
    [(0.5, "Threshold"), (1.0000001, "Round"), (-1.0, "ignore"), (3.0, "declare the value under labels there")],
)
def test_other_values_are_errors_that_are_written_out_and_explained(labels, value, remedy):
    labels = labels.astype(np.float64)
    labels[0, 0, 0] = value

    (finding,), _ = check_label(labels, (0, 1, 2), None, "label")

    assert finding.check == "label-values" and remedy in finding.remedy
    assert finding.found == f"holds the value {str(value).removesuffix('.0')} in 1 voxels"


def test_a_black_and_white_picture_is_explained(labels):
    (finding,), _ = check_label((labels > 0) * np.uint8(255), (0, 1), None, "label")

    assert "Store 1 instead of 255" in finding.remedy


def test_the_ignore_label_is_declared_and_no_lesion(labels):
    labels[0, 0, 7] = 3  # a single voxel

    assert check_label(labels, (0, 1, 2), 3, "label") == ([], {0, 1, 2, 3})


def test_an_empty_label_is_only_worth_a_note(labels):
    (finding,), present = check_label(np.zeros_like(labels), (0, 1), None, "label")

    assert finding.severity == "note" and present == {0}


def test_a_lesion_of_one_voxel_is_a_warning_with_its_place(labels):
    labels[0, 6, 7] = 1

    (finding,), _ = check_label(labels, (0, 1, 2), None, "label")

    assert (finding.severity, finding.check) == ("warning", "label-single-voxel")
    assert finding.found.startswith("1 of 3 lesions") and "(x, y, z) = (7, 6, 0)" in finding.found


def test_a_voxel_that_touches_a_lesion_by_an_edge_belongs_to_it(labels):
    labels[3, 3, 2] = 1

    assert check_label(labels, (0, 1, 2), None, "label")[0] == []


def test_a_voxel_that_touches_a_lesion_by_a_corner_only_is_a_lesion_of_its_own_as_in_the_metrics(labels):
    labels[3, 3, 3] = 1

    (finding,), _ = check_label(labels, (0, 1, 2), None, "label")

    assert finding.found.startswith("1 of 3 lesions")
