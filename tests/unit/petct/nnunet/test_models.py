from types import SimpleNamespace

import pytest

from h2aseg_nnunet.modalities import CT_NORMALIZATION
from h2aseg_nnunet.petct.nnunet.models import modality_channels


def channels_of(schemes, **arch_kwargs):
    configuration = SimpleNamespace(normalization_schemes=schemes, network_arch_init_kwargs=arch_kwargs)
    return modality_channels(SimpleNamespace(configuration_manager=configuration))


def test_channels_are_those_that_the_network_takes_for_ct_and_pet():
    assert channels_of(["NoNormalization"] * 2) == {"CT": [0], "PET": [1]}
    assert channels_of(["ZScore", CT_NORMALIZATION, "ZScore"]) == {"CT": [1], "PET": [0, 2]}
    assert channels_of(["ZScore"] * 3, ct_channels=[2, 1], pet_channels=[0, 1]) == {"CT": [2], "PET": [0]}


def test_a_model_without_two_modalities_is_refused():
    with pytest.raises(ValueError, match="reads 1 image channel"):
        channels_of(["ZScore"])
    with pytest.raises(ValueError, match="share all"):
        channels_of(["ZScore"] * 2, ct_channels=[0, 1], pet_channels=[1])
