import numpy as np
import pytest

from h2aseg_nnunet.petct.check.labels import check_label


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
    assert finding.found == "label 2 in 8 voxels" and finding.expected == "one of [0, 1]"
    assert present == set()


@pytest.mark.parametrize("value", [0.5, np.nan, -1])
def test_fractions_nan_and_negative_values_are_errors(labels, value):
    labels = labels.astype(np.float32)
    labels[0, 0, 0] = value

    (finding,), _ = check_label(labels, (0, 1, 2), None, "label")

    assert finding.check == "label-values" and f"label {value:g} in 1 voxels" == finding.found


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


def test_voxels_that_touch_at_a_corner_are_one_lesion(labels):
    labels[3, 3, 3] = 1  # between the two cubes

    assert check_label(labels, (0, 1, 2), None, "label")[0] == []
