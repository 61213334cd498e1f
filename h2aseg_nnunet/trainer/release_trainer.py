"""The authors' training recipe within nnU-Net, to be compared with nnU-Net's own."""

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from torch import nn

from h2aseg_nnunet.network.layout import DEFAULT_FORM
from h2aseg_nnunet.trainer.h2aseg_trainer import nnUNetTrainerH2ASeg
from h2aseg_nnunet.trainer.supervision import dice_of, release_weights

DROPOUT = 0.5
P_ROTATION = 0.8


def release_features(n_stages: int) -> list[int]:
    """8, 16, 32, 64, 128 features per stream, 128 at any further stage."""
    return [min(8 * 2**stage, 128) for stage in range(n_stages)]


class ExponentialDecay:
    """Learning rate initial_lr * factor**epoch; nnU-Net says which epoch, also where a training is resumed."""

    def __init__(self, optimizer: torch.optim.Optimizer, initial_lr: float, factor: float):
        self.optimizer = optimizer
        self.initial_lr = initial_lr
        self.factor = factor

    def step(self, epoch: int) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.initial_lr * self.factor**epoch


class nnUNetTrainerH2ASegRelease(nnUNetTrainerH2ASeg):
    """The release's widths, dropout, initialization, optimizer, schedule, loss, sampling and augmentation.

    What stays nnU-Net's: stages, kernels, patch and batch size of the plan, preprocessing, epochs of 250 iterations,
    clipped gradients, mixed precision, classes that are not merged (with regions, binary cross-entropy), and validation
    on whole images.
    """

    num_epochs = 200
    initial_lr = 1e-4
    weight_decay = 1e-5
    oversample_foreground_percent = 0.5
    network_options = {  # noqa: RUF012, read only
        "features_per_stage": release_features,
        "encoder_dropout": DROPOUT,
        "decoder_dropout": DROPOUT,
        "attention_dropout": DROPOUT,
        **dict.fromkeys(DEFAULT_FORM, False),
    }
    he_initialization = False
    deep_supervision_weights = staticmethod(release_weights)
    batch_dice = False

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, ExponentialDecay]:
        """Adam; the learning rate falls by 1 % per epoch."""
        optimizer = torch.optim.Adam(self.network.parameters(), self.initial_lr, weight_decay=self.weight_decay)
        return optimizer, ExponentialDecay(optimizer, self.initial_lr, factor=0.99)

    def _build_loss(self) -> nn.Module:
        """Cross-entropy and soft Dice of each image, background included, of all stages at full resolution."""
        loss = super()._build_loss()
        dice_of(loss).do_bg = True
        return loss

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self):  # noqa: N802, nnU-Net's own name
        """Rotation by any angle within axial slices, which nnU-Net calls dummy 2D; no mirroring, in prediction neither.

        The patch that is loaded holds the slice at any angle.
        """
        self.inference_allowed_mirroring_axes = None
        *slices, height, width = self.configuration_manager.patch_size
        diagonal = int(np.ceil(np.hypot(height, width)))
        self.print_to_log_file(f"do_dummy_2d_data_aug: {bool(slices)}")
        return (-np.pi, np.pi), bool(slices), np.array([*slices, diagonal, diagonal]), None

    def get_training_transforms(self, *args, **kwargs) -> BasicTransform:
        """nnU-Net's, of which only rotation and what is not random remain."""
        compose = super().get_training_transforms(*args, **kwargs)
        compose.transforms = [each for each in compose.transforms if not isinstance(each, RandomTransform)]
        for each in compose.transforms:
            if isinstance(each, SpatialTransform):
                each.p_rotation, each.p_scaling = P_ROTATION, 0
        return compose
