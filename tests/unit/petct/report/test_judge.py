import numpy as np
import pytest
import SimpleITK

from h2aseg_nnunet.petct.evaluate.metrics import dice, false_negative_volume_ml, false_positive_volume_ml
from h2aseg_nnunet.petct.report.judge import judge
from tests.unit.petct.report.conftest import FALSE, MISSED, SHAPE, SPACING_MM, TRUE, arrays, image

VOXEL_ML = 4 * 3 * 2 / 1000


def judged(**replaced):
    given = arrays() | replaced
    reference = None if given["reference"] is None else given["reference"] > 0
    return judge(given["prediction"] > 0, reference, given["pet"], image(given["pet"]))


def test_lesions_are_found_missed_and_false():
    found, missed, false = judged().lesions

    assert [(lesion.name, lesion.kind) for lesion in (found, missed, false)] == [
        ("T1", "found"),
        ("M1", "missed"),
        ("F1", "false"),
    ]
    assert found.volume_ml == pytest.approx(24 * VOXEL_ML)
    assert missed.volume_ml == pytest.approx(VOXEL_ML)
    assert false.volume_ml == pytest.approx(2 * VOXEL_ML)
    assert (found.predicted_share, missed.predicted_share, false.predicted_share) == (0.5, 0, None)
    assert (found.suv_max, missed.suv_mean, false.suv_max) == (8, 6, 4)
    assert found.tlg == pytest.approx(24 * VOXEL_ML * 8)


def test_position_is_in_the_scanners_coordinates():
    found, missed, _ = judged().lesions

    # Center of voxels x 4-7, y 3-4, z 2-4, at 4 x 3 x 2 mm from (-30, 10, 500).
    assert found.position_mm == pytest.approx((-30 + 5.5 * 4, 10 + 3.5 * 3, 500 + 3 * 2))
    assert missed.voxel == (3, 8, 10)


def test_totals():
    measures = judged().measures

    assert measures.reference_volume_ml == pytest.approx(25 * VOXEL_ML)
    assert measures.volume_ml == pytest.approx(14 * VOXEL_ML)
    assert measures.tlg == pytest.approx((12 * 8 + 2 * 4) * VOXEL_ML)
    assert (measures.reference_lesions, measures.found, measures.false, measures.lesions) == (2, 1, 1, 2)
    assert measures.dice == pytest.approx(2 * 12 / (25 + 14))


@pytest.mark.parametrize("seed", range(3))
def test_measures_are_the_challenges(seed):
    random = np.random.default_rng(seed)
    prediction, reference = (random.random(SHAPE) < 0.03 for _ in range(2))
    measures = judged(prediction=prediction, reference=reference).measures

    spacing_mm = SPACING_MM[::-1]
    assert measures.dice == pytest.approx(dice(reference, prediction))
    assert measures.false_positive_volume_ml == pytest.approx(
        false_positive_volume_ml(reference, prediction, spacing_mm)
    )
    assert measures.false_negative_volume_ml == pytest.approx(
        false_negative_volume_ml(reference, prediction, spacing_mm)
    )


def test_lesions_of_a_kind_come_from_large_to_small():
    prediction = np.zeros(SHAPE, np.uint8)
    prediction[1, 1, 1] = prediction[5, 5, 5:8] = prediction[10, 10, 10:12] = 1
    lesions = judged(prediction=prediction, reference=np.zeros(SHAPE)).lesions

    assert [(lesion.name, round(lesion.volume_ml / VOXEL_ML)) for lesion in lesions] == [
        ("F1", 3),
        ("F2", 2),
        ("F3", 1),
    ]


def test_outlines_tell_who_drew_a_voxel_and_numbers_which_lesion_it_is_of():
    result = judged()

    assert result.outlines[2, 3, 4] == 1 + 4  # found, and predicted
    assert result.outlines[2, 4, 4] == 1  # found lesion, its part that is not predicted
    assert result.outlines[MISSED] == 2
    assert (result.outlines[FALSE] == 8).all()
    assert result.numbers[TRUE].min() == result.numbers[TRUE].max() == 1
    assert result.numbers[MISSED] == 2 and (result.numbers[FALSE] == 3).all()
    assert np.count_nonzero(result.numbers) == 24 + 1 + 2


def test_lesion_free_patient_has_no_dice_and_no_false_negative_volume():
    measures = judged(reference=np.zeros(SHAPE)).measures

    assert measures.dice is None and measures.false_negative_volume_ml is None
    assert measures.false_positive_volume_ml == pytest.approx(14 * VOXEL_ML)
    assert (measures.found, measures.false) == (0, 2)


def test_nothing_predicted():
    result = judged(prediction=np.zeros(SHAPE))

    assert [lesion.kind for lesion in result.lesions] == ["missed", "missed"]
    assert (result.measures.dice, result.measures.volume_ml, result.measures.lesions) == (0, 0, 0)


def test_without_reference_lesions_are_merely_predicted():
    result = judged(reference=None)

    assert [(lesion.name, lesion.kind) for lesion in result.lesions] == [("P1", "predicted"), ("P2", "predicted")]
    assert set(np.unique(result.outlines)) == {0, 4}
    assert result.measures.dice is None and result.measures.reference_volume_ml is None


def test_hundreds_of_lesions_keep_their_numbers():
    prediction = np.zeros((40, 40, 40), np.uint8)
    prediction[::4, ::4, ::4] = 1
    result = judge(prediction > 0, None, np.ones(prediction.shape), SimpleITK.GetImageFromArray(prediction))

    assert len(result.lesions) == result.numbers.max() == 1000
