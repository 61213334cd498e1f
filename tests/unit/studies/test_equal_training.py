import importlib.util

from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg
from h2aseg_nnunet.trainer.supervision import dice_of
from tests.locations import REPOSITORY

FOLDER = REPOSITORY / "studies" / "trainers"


def equal_training():
    """The class out of its file, without the package: as nnU-Net loads what lies in nnUNet_extTrainer."""
    spec = importlib.util.spec_from_file_location("equal_training", FOLDER / "equal_training.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.nnUNetTrainerEqualTraining


def test_the_u_net_is_trained_as_h2aseg_is(make_trainer, plans):
    plans["configurations"]["3d_fullres"]["batch_dice"] = False
    peer, h2aseg = make_trainer(equal_training()), make_trainer(nnUNetTrainerH2ASeg)
    for trainer in (peer, h2aseg):
        trainer.initialize()
        trainer.lr_scheduler.step(10)

    assert repr(peer.optimizer) == repr(h2aseg.optimizer)  # its class and every setting
    assert type(peer.lr_scheduler) is type(h2aseg.lr_scheduler)
    assert dice_of(peer.loss).batch_dice is dice_of(h2aseg.loss).batch_dice is True
    assert type(peer.network).__name__ == "PlainConvUNet"
