import numpy as np
import pytest

from h2aseg_nnunet.evaluation.metrics import dice


def mask(*values):
    return np.array(values, dtype=np.uint8)


def test_dice_of_two_and_three_voxels_sharing_two_is_four_fifths():
    assert dice(mask(1, 1, 0, 0), mask(1, 1, 1, 0)) == pytest.approx(2 * 2 / (2 + 3))


def test_dice_of_a_missed_lesion_is_zero():
    assert dice(mask(0, 1), mask(0, 0)) == 0


@pytest.mark.parametrize("prediction", [mask(0, 0), mask(0, 1)])
def test_dice_without_a_reference_is_nan(prediction):
    assert np.isnan(dice(mask(0, 0), prediction))
