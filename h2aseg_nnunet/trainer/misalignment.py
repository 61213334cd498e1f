"""CT that does not lie on the PET, as augmentation: patients move and breathe between the two scans."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform, ImageOnlyTransform
from batchgeneratorsv2.transforms.spatial.spatial import (
    SpatialTransform,
    create_affine_matrix_2d,
    create_affine_matrix_3d,
)
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from torch import Tensor
from torch.nn import functional as F

from h2aseg_nnunet.trainer.h2aseg_trainer import nnUNetTrainerH2ASeg


def move_rigidly(
    image: Tensor, angles_deg: Sequence[float], shift_voxels: Sequence[float], spacing_mm: Sequence[float]
) -> Tensor:
    """Rotate an image about its centre, then shift it; linear interpolation.

    What comes in from outside takes the value at the image's edge: zero would be another tissue in every normalisation.

    Args:
        image: (c, *), volumes or slices.
        angles_deg: One per axis of a volume, about that axis; a single one for slices.
        shift_voxels: One per axis, towards higher indices.
        spacing_mm: One per axis: the rotation is rigid in millimetres, also where voxels are no cubes.
    """
    angles = np.deg2rad(angles_deg)
    ones = [1.0] * (image.ndim - 1)
    rotation = create_affine_matrix_3d(angles, ones) if image.ndim == 4 else create_affine_matrix_2d(angles[0], ones)
    spacing, half_extent = np.asarray(spacing_mm), np.asarray(image.shape[1:]) / 2
    # where each voxel of the result comes from, in half extents from the centre: torch's normalised coordinates
    back = rotation.T * spacing[None] / spacing[:, None]
    linear = back * half_extent[None] / half_extent[:, None]
    offset = -back @ np.asarray(shift_voxels) / half_extent
    theta = np.concatenate([linear[::-1, ::-1], offset[::-1, None]], axis=1)  # torch counts axes from the last
    grid = F.affine_grid(torch.from_numpy(theta).to(image.dtype)[None], [1, *image.shape], align_corners=False)
    return F.grid_sample(image[None], grid, padding_mode="border", align_corners=False)[0]


class MisalignTransform(ImageOnlyTransform):
    """Moves some channels of an image rigidly against the others, which the label follows.

    Args:
        channels: Those that move.
        spacing_mm: Of the patch, one per axis.
        max_angle_deg: Rotation about each axis is drawn from -max_angle_deg to max_angle_deg.
        max_shift_voxels: So is the shift along each of the last two axes, which for nnU-Net span the slices.
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
