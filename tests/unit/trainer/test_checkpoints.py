"""Weights of another network are refused in one sentence, also where nnU-Net loads them without the trainer."""

import pytest
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg, nnUNetTrainerH2ASeg_L, nnUNetTrainerH2ASeg_noTAMW


@pytest.fixture
def build(plans):
    """Build as nnUNetv2_predict does: on the class."""
    manager = PlansManager(plans)

    def make(cls=nnUNetTrainerH2ASeg):
        return cls.build_network_architecture(manager, manager.get_configuration("3d_fullres"), 2, 2, False)

    return make


def test_weights_of_a_stock_network(build):
    unet = PlainConvUNet(2, 2, [4, 8], nn.Conv3d, 3, [1, 2], 2, 2, 2)

    with pytest.raises(UserError, match=r"not of this H2ASeg.*missing.*unexpected.*another trainer \(-tr\)") as error:
        build().load_state_dict(unet.state_dict())
    assert len(str(error.value)) < 1000


def test_weights_of_another_width(build):
    with pytest.raises(UserError, match=r"of another shape.*nnUNetTrainerH2ASeg_L"):
        build().load_state_dict(build(nnUNetTrainerH2ASeg_L).state_dict())


def test_weights_of_another_recipe(build):
    with pytest.raises(UserError, match=r"unexpected \(decoder.stages.0.tamw.*another trainer"):
        build(nnUNetTrainerH2ASeg_noTAMW).load_state_dict(build().state_dict())


def test_what_is_asked_for_loosely_is_torchs_matter(build):
    missing, _ = build().load_state_dict({}, strict=False)

    assert missing
