import numpy as np
import pytest

from h2aseg_nnunet.petct.images.lesions import label_components, lesions
from h2aseg_nnunet.petct.images.peak import suv_peak
from h2aseg_nnunet.petct.postprocess.components import measure
from h2aseg_nnunet.petct.postprocess.regions import Predicted, regions_of
from h2aseg_nnunet.petct.postprocess.rules import FEATURES, Outline


def test_features_are_those_of_the_lesions_of_the_whole_mask():
    rng = np.random.default_rng(1)
    mask = rng.random((20, 22, 24)) > 0.98
    mask[4:8, 3:9, 2:6] = True
    suv, probability = rng.gamma(2, 2, mask.shape), rng.random(mask.shape)
    spacing_mm = (4.0, 2.0, 2.0)
    labels, _ = label_components(mask)
    expected = sorted(
        (
            lesion.volume_ml,
            lesion.suv_max,
            suv_peak(suv, labels == lesion.label, spacing_mm),
            probability[labels == lesion.label].mean(),
        )
        for lesion in lesions(mask, spacing_mm, suv=suv)
    )

    found = []
    for region in regions_of(Predicted(mask, spacing_mm, suv, probability), [Outline()]):
        components = measure(region, region.mask, FEATURES)
        found += zip(*(components.features[name] for name in FEATURES), strict=True)

    assert np.array(sorted(found)) == pytest.approx(np.array(expected))
