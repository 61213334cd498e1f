import json

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from h2aseg_nnunet.petct.evaluate.metrics import (
    aggregated_dice,
    dice,
    dice_unguarded,
    false_negative_volume_ml,
    false_negative_volume_ml_unguarded,
    false_positive_volume_ml,
    overlap_mm3,
)

SPACING_MM = (5, 2, 3)  # a voxel is 0.03 ml
EMPTY = np.zeros((1, 1, 8))
MASK_PAIRS = arrays(np.uint8, st.tuples(st.just(2), *[st.integers(1, 5)] * 3), elements=st.integers(0, 1))


def mask(*values):
    return np.array(values, dtype=np.uint8)


def row(*values):
    return np.array([[values]], dtype=np.uint8)


REFERENCE = row(1, 1, 0, 0, 1, 0, 0, 0)
PREDICTION = row(0, 1, 1, 0, 0, 0, 1, 1)  # finds the first lesion, misses the second, invents a third of two voxels


def test_dice_of_two_and_three_voxels_sharing_two_is_four_fifths():
    assert dice(mask(1, 1, 0, 0), mask(1, 1, 1, 0)) == pytest.approx(2 * 2 / (2 + 3))


def test_dice_of_a_missed_lesion_is_zero():
    assert dice(mask(0, 1), mask(0, 0)) == 0


@pytest.mark.parametrize("prediction", [mask(0, 0), mask(0, 1)])
def test_dice_without_a_reference_is_nan(prediction):
    assert np.isnan(dice(mask(0, 0), prediction))


def test_unguarded_dice_without_a_reference_is_zero_if_anything_is_predicted():
    assert dice_unguarded(mask(0, 0), mask(0, 1)) == 0
    assert np.isnan(dice_unguarded(mask(0, 0), mask(0, 0)))


def test_masks_of_other_shapes_are_refused_even_if_they_broadcast():
    with pytest.raises(ValueError, match="shape"):
        dice(np.ones((2, 2)), np.ones((1, 2)))


def test_false_positive_volume_is_that_of_untouched_predictions():
    assert false_positive_volume_ml(REFERENCE, PREDICTION, SPACING_MM) == pytest.approx(2 * 0.03)


def test_false_negative_volume_is_that_of_untouched_references():
    assert false_negative_volume_ml(REFERENCE, PREDICTION, SPACING_MM) == pytest.approx(1 * 0.03)


def test_without_a_prediction_nothing_is_false_positive_and_everything_is_missed():
    assert false_positive_volume_ml(REFERENCE, EMPTY, SPACING_MM) == 0
    assert false_negative_volume_ml(REFERENCE, EMPTY, SPACING_MM) == pytest.approx(3 * 0.03)


def test_without_a_reference_everything_predicted_is_false_positive_and_the_missed_volume_undefined():
    assert false_positive_volume_ml(EMPTY, PREDICTION, SPACING_MM) == pytest.approx(4 * 0.03)
    assert np.isnan(false_negative_volume_ml(EMPTY, PREDICTION, SPACING_MM))
    assert false_negative_volume_ml_unguarded(EMPTY, PREDICTION, SPACING_MM) == 0


def test_overlap_counts_one_label_only():
    reference, prediction = row(1, 1, 2, 0), row(1, 2, 2, 2)

    assert overlap_mm3(reference, prediction, SPACING_MM, label=1) == pytest.approx((30, 60, 30))
    assert overlap_mm3(reference, prediction, SPACING_MM, label=2) == pytest.approx((30, 30, 90))


def test_aggregated_dice_weighs_patients_by_volume():
    overlaps_mm3 = [(10, 10, 10), (0, 30, 0), (0, 0, 0), (0, 0, 10)]  # perfect, missed, absent, invented

    assert aggregated_dice(overlaps_mm3) == pytest.approx(2 * 10 / (10 + 10 + 30 + 10))


def test_aggregated_dice_of_a_label_that_is_absent_everywhere():
    absent = [(0, 0, 0), (0, 0, 0)]

    assert np.isnan(aggregated_dice(absent))
    assert aggregated_dice(absent, absent=1.0) == 1


def test_hecktor_reference_values(reference_data):
    expected = json.loads((reference_data / "expected.json").read_text())["hecktor"]
    for name, label in (("GTVp", 1), ("GTVn", 2)):
        overlaps = []
        for file in sorted((reference_data / "hecktor" / "gt").iterdir()):
            images = [SimpleITK.ReadImage(str(file.parents[1] / side / file.name)) for side in ("gt", "pred")]
            overlaps.append(overlap_mm3(*map(SimpleITK.GetArrayFromImage, images), images[0].GetSpacing()[::-1], label))
        assert aggregated_dice(overlaps) == pytest.approx(expected[name], rel=1e-6)


@settings(deadline=None)
@given(MASK_PAIRS)
def test_dice_is_symmetric(masks):
    reference, prediction = masks

    assert dice_unguarded(reference, prediction) == pytest.approx(dice_unguarded(prediction, reference), nan_ok=True)


@settings(deadline=None)
@given(MASK_PAIRS)
def test_false_positives_become_false_negatives_when_masks_change_places(masks):
    reference, prediction = masks

    false_positive = false_positive_volume_ml(reference, prediction, SPACING_MM)
    assert false_positive == false_negative_volume_ml_unguarded(prediction, reference, SPACING_MM)


@settings(deadline=None)
@given(MASK_PAIRS)
def test_false_positive_volume_is_what_a_loop_over_lesions_gives(masks):
    reference, prediction = masks
    labels, count = ndimage.label(prediction, ndimage.generate_binary_structure(3, 2))
    components = [labels == label for label in range(1, count + 1)]

    expected = sum(np.count_nonzero(component) for component in components if not (component & (reference > 0)).any())
    assert false_positive_volume_ml(reference, prediction, SPACING_MM) == pytest.approx(expected * 0.03)


@settings(deadline=None)
@given(MASK_PAIRS, st.tuples(*[st.integers(0, 4)] * 3))
def test_moving_both_masks_changes_nothing(masks, shift):
    reference, prediction = np.pad(masks, ((0, 0), (0, 4), (0, 4), (0, 4)))
    moved = [np.roll(mask, shift, axis=(0, 1, 2)) for mask in (reference, prediction)]

    assert dice(*moved) == pytest.approx(dice(reference, prediction), nan_ok=True)
    for volume_ml in (false_positive_volume_ml, false_negative_volume_ml):
        before = volume_ml(reference, prediction, SPACING_MM)
        assert volume_ml(*moved, SPACING_MM) == pytest.approx(before, nan_ok=True)
