import numpy as np
import pytest

from h2aseg_nnunet.petct.evaluate.uptake import tumor_burden


def test_volume_glycolysis_and_maximum_of_all_lesions_together():
    mask = np.array([[[1, 0, 2]]])
    suv = np.array([[[2.0, 50.0, 6.0]]])

    assert tumor_burden(mask, suv, (10, 10, 10)) == pytest.approx((2, 8, 6, 4))  # voxels of 1 ml


def test_an_empty_mask_has_no_volume_and_no_maximum():
    burden = tumor_burden(np.zeros((1, 1, 2)), np.ones((1, 1, 2)), (1, 1, 1))

    assert (burden.tmtv_ml, burden.tlg) == (0, 0)
    assert np.isnan(burden.suv_max)


def test_sums_are_exact_for_single_precision_pet():
    suv = np.full((100, 100, 100), 0.1, np.float32)

    assert tumor_burden(np.ones(suv.shape), suv, (10, 10, 10)).tlg == pytest.approx(
        float(suv[0, 0, 0]) * 1e6, rel=1e-12
    )


def test_pet_that_is_no_number_matters_inside_the_mask_only():
    suv = np.array([[[np.nan, 1.0]]])

    assert tumor_burden(np.array([[[0, 1]]]), suv, (1, 1, 1)).suv_max == 1
    with pytest.raises(ValueError, match="1 voxels inside a mask are no number"):
        tumor_burden(np.array([[[1, 1]]]), suv, (1, 1, 1))
