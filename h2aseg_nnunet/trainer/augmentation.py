"""Augmentation of two modalities: CT that does not lie on the PET, and a modality that is missing."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform, ImageOnlyTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from torch import Tensor

from h2aseg_nnunet.petct.perturb import move_rigidly, without
from h2aseg_nnunet.trainer.h2aseg_trainer import nnUNetTrainerH2ASeg


class MisalignTransform(ImageOnlyTransform):
    """Moves some channels of an image rigidly against the others, which the label follows.

    Args:
        channels: The channels that move.
        spacing_mm: Voxel size of the patch per axis.
        max_angle_deg: The angle about each axis is drawn from -max_angle_deg to max_angle_deg.
        max_shift_voxels: The shift along each of the last two axes, which for nnU-Net span the slices, is drawn from
            -max_shift_voxels to max_shift_voxels.
    """

    def __init__(
        self,
        channels: Sequence[int],
        spacing_mm: Sequence[float],
        max_angle_deg: float = 0.0,
        max_shift_voxels: float = 0.0,
    ):
        super().__init__()
        self.channels = list(channels)
        self.spacing_mm = spacing_mm
        self.max_angle_deg = max_angle_deg
        self.max_shift_voxels = max_shift_voxels

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        dimension = data_dict["image"].ndim - 1
        shift_voxels = np.zeros(dimension)
        shift_voxels[-2:] = np.random.uniform(-self.max_shift_voxels, self.max_shift_voxels, size=2)
        angles_deg = np.random.uniform(-self.max_angle_deg, self.max_angle_deg, size=3 if dimension == 3 else 1)
        return {"angles_deg": angles_deg, "shift_voxels": shift_voxels}

    def _apply_to_image(self, image: Tensor, **params: Any) -> Tensor:
        moved = image.clone()
        moved[self.channels] = move_rigidly(image[self.channels], **params, spacing_mm=self.spacing_mm)
        return moved


class nnUNetTrainerH2ASeg_misalign(nnUNetTrainerH2ASeg):
    """In a tenth of the samples CT is rotated against PET and label, in a tenth it is shifted.

    The ranges and probabilities are those of AutoPET III's winner (Rokuss et al., arXiv:2409.09478).
    """

    max_angle_deg = 5.0
    max_shift_voxels = 2.0
    p_rotation = 0.1
    p_shift = 0.1

    def get_training_transforms(self, *args, **kwargs) -> BasicTransform:
        """nnU-Net's, and after its spatial transform the misalignment. No staticmethod as there: it asks the plan."""
        compose = super().get_training_transforms(*args, **kwargs)
        channels, spacing_mm = self.modality_channels().ct, self.configuration_manager.spacing
        rotate = MisalignTransform(channels, spacing_mm, max_angle_deg=self.max_angle_deg)
        shift = MisalignTransform(channels, spacing_mm, max_shift_voxels=self.max_shift_voxels)
        spatial = [isinstance(each, SpatialTransform | Convert2DTo3DTransform) for each in compose.transforms]
        after = max((i + 1 for i, is_spatial in enumerate(spatial) if is_spatial), default=0)
        compose.transforms[after:after] = [
            RandomTransform(rotate, self.p_rotation),
            RandomTransform(shift, self.p_shift),
        ]
        return compose


class ModalityDropoutTransform(ImageOnlyTransform):
    """Replaces every channel of one modality by the channel's mean, as `h2aseg explain` does for its attribution.

    Args:
        modalities: The channels of each modality.
        probabilities: How likely each modality is replaced, at most 1 in all; at most one is replaced.
    """

    def __init__(self, modalities: Sequence[Sequence[int]], probabilities: Sequence[float]):
        super().__init__()
        self.modalities = [list(channels) for channels in modalities]
        self.probabilities = list(probabilities)

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        chosen = np.searchsorted(np.cumsum(self.probabilities), np.random.uniform(), side="right")
        return {"channels": [*self.modalities, []][chosen]}

    def _apply_to_image(self, image: Tensor, **params: Any) -> Tensor:
        return without(image, params["channels"])


class nnUNetTrainerH2ASeg_modalitydropout(nnUNetTrainerH2ASeg):
    """In a tenth of the samples there is no CT, in another tenth no PET. Validation sees both."""

    p_no_ct = 0.1
    p_no_pet = 0.1

    def get_training_transforms(self, *args, **kwargs) -> BasicTransform:
        """nnU-Net's, then the dropout: noise and contrast would change a mean again."""
        compose = super().get_training_transforms(*args, **kwargs)
        compose.transforms.append(ModalityDropoutTransform(self.modality_channels(), (self.p_no_ct, self.p_no_pet)))
        return compose
