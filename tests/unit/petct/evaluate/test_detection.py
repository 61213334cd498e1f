import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from h2aseg_nnunet.petct.evaluate.detection import Detection, detect

MASK_PAIRS = arrays(np.uint8, st.tuples(st.just(2), *[st.integers(1, 5)] * 3), elements=st.integers(0, 1))


def row(*values):
    return np.array([[values]])


def test_one_shared_voxel_finds_a_lesion():
    detection = detect(row(1, 1, 0, 1, 0, 0), row(0, 1, 1, 0, 0, 1))

    # the prediction's first lesion covers voxels 1 and 2, its second voxel 5; the reference's second is missed
    assert detection == Detection(reference_lesions=2, found_lesions=1, predicted_lesions=2, true_lesions=1)
    assert (detection.sensitivity, detection.precision, detection.f1) == (0.5, 0.5, 0.5)


def test_one_prediction_may_find_two_lesions():
    detection = detect(row(1, 0, 1, 0, 1), row(1, 1, 1, 0, 0))

    assert detection == Detection(reference_lesions=3, found_lesions=2, predicted_lesions=1, true_lesions=1)
    assert detection.f1 == pytest.approx(2 * (2 / 3) * 1 / (2 / 3 + 1))


def test_two_predictions_in_one_lesion_are_both_true():
    assert detect(row(1, 1, 1), row(1, 0, 1)) == Detection(1, 1, 2, 2)


def test_an_iou_is_reached_by_the_pair_not_by_the_masks():
    reference, prediction = row(1, 1, 1, 0, 1), row(0, 1, 1, 0, 1)  # IoU 2/3 and 1

    assert detect(reference, prediction, minimum_iou=2 / 3).found_lesions == 2
    assert detect(reference, prediction, minimum_iou=0.67).found_lesions == 1
    assert detect(reference, prediction, minimum_iou=1).true_lesions == 1


def test_without_a_reference_sensitivity_is_undefined_and_f1_zero():
    detection = detect(row(0, 0, 0), row(1, 0, 1))

    assert np.isnan(detection.sensitivity)
    assert (detection.precision, detection.f1) == (0, 0)


def test_without_a_prediction_precision_is_undefined_and_f1_zero():
    detection = detect(row(1, 0, 1), row(0, 0, 0))

    assert np.isnan(detection.precision)
    assert (detection.sensitivity, detection.f1) == (0, 0)


def test_two_empty_masks_leave_everything_undefined():
    detection = detect(row(0, 0), row(0, 0))

    assert np.isnan([detection.sensitivity, detection.precision, detection.f1]).all()


def test_lesions_that_miss_each_other_have_f1_zero():
    assert detect(row(1, 0, 0), row(0, 0, 1)).f1 == 0


@pytest.mark.parametrize("minimum_iou", [0, -0.1, 1.1, np.nan])
def test_an_impossible_iou_is_refused(minimum_iou):
    with pytest.raises(ValueError, match="minimum_iou"):
        detect(row(1), row(1), minimum_iou)


@settings(deadline=None)
@given(MASK_PAIRS, st.sampled_from([None, 0.1, 0.5, 1.0]))
def test_sensitivity_and_precision_change_places_with_the_masks(masks, minimum_iou):
    there, back = detect(masks[0], masks[1], minimum_iou), detect(masks[1], masks[0], minimum_iou)

    assert there == (back.predicted_lesions, back.true_lesions, back.reference_lesions, back.found_lesions)
    assert there.f1 == pytest.approx(back.f1, nan_ok=True)


@settings(deadline=None)
@given(MASK_PAIRS)
def test_a_stricter_overlap_never_finds_more(masks):
    found = [detect(*masks, minimum_iou).found_lesions for minimum_iou in (None, 0.2, 0.5, 0.9)]

    assert found == sorted(found, reverse=True)


def test_one_to_one_a_lesion_matches_the_one_it_overlaps_most():
    reference, prediction = row(1, 1, 1, 1, 1, 1), row(1, 1, 0, 1, 1, 1)  # IoU 2/6 and 3/6

    assert detect(reference, prediction, minimum_iou=0.3) == Detection(1, 1, 2, 2)
    assert detect(reference, prediction, minimum_iou=0.3, one_to_one=True) == Detection(1, 1, 2, 1)
    assert detect(reference, prediction, minimum_iou=0.6, one_to_one=True) == Detection(1, 0, 2, 0)


def test_one_to_one_goes_by_overlap_not_by_order():
    reference, prediction = row(1, 1, 1, 1, 1, 1, 0, 1, 1, 1), row(1, 0, 1, 1, 1, 1, 1, 1, 0, 0)
    # the second predicted lesion overlaps the reference's by 4/8 and 1/8, and is gone when the first, 1/6, is asked

    assert detect(reference, prediction, one_to_one=True) == Detection(2, 1, 2, 1)


def test_a_strict_overlap_must_be_exceeded():
    reference, prediction = row(1, 1, 1, 1), row(1, 1, 0, 0)  # IoU 1/2

    assert detect(reference, prediction, minimum_iou=0.5).found_lesions == 1
    assert detect(reference, prediction, minimum_iou=0.5, strictly=True).found_lesions == 0


def test_f1_of_found_counts_true_positives_in_the_reference():
    detection = Detection(reference_lesions=4, found_lesions=2, predicted_lesions=2, true_lesions=1)

    assert detection.f1_of_found == pytest.approx(2 * 2 / (2 * 2 + 1 + 2))
    assert np.isnan(Detection(0, 0, 3, 0).f1_of_found)
    assert Detection(3, 0, 0, 0).f1_of_found == 0
