"""Images as they would be if a modality were missing or the patient had moved."""

from collections.abc import Sequence

import numpy as np
import torch
from batchgeneratorsv2.transforms.spatial.spatial import create_affine_matrix_2d, create_affine_matrix_3d
from torch import Tensor
from torch.nn import functional as F


def without(image: Tensor, channels: Sequence[int]) -> Tensor:
    """Return a copy of a preprocessed image (c, *) whose given channels hold their own mean everywhere.

    The mean, not zero: zero means another value in every normalization scheme.
    """
    replaced = image.clone()
    for channel in channels:
        replaced[channel] = image[channel].mean()
    return replaced


def move_rigidly(
    image: Tensor, angles_deg: Sequence[float], shift_voxels: Sequence[float], spacing_mm: Sequence[float]
) -> Tensor:
    """Rotate an image about its center, then shift it; linear interpolation.

    What comes in from outside takes the value at the image's edge: zero would be another tissue in every normalization.

    Args:
        image: Volumes or slices, (c, *).
        angles_deg: One angle per axis of a volume, about that axis; a single angle for slices.
        shift_voxels: One shift per axis, toward higher indices.
        spacing_mm: Voxel size per axis. The rotation is rigid in millimeters, also where voxels are no cubes.
    """
    angles = np.deg2rad(angles_deg)
    ones = [1.0] * (image.ndim - 1)
    rotation = create_affine_matrix_3d(angles, ones) if image.ndim == 4 else create_affine_matrix_2d(angles[0], ones)
    spacing, half_extent = np.asarray(spacing_mm), np.asarray(image.shape[1:]) / 2
    # where each voxel of the result comes from, in half extents from the center: torch's normalized coordinates
    back = rotation.T * spacing[None] / spacing[:, None]
    linear = back * half_extent[None] / half_extent[:, None]
    offset = -back @ np.asarray(shift_voxels) / half_extent
    theta = np.concatenate([linear[::-1, ::-1], offset[::-1, None]], axis=1)  # torch counts axes from the last
    grid = F.affine_grid(torch.from_numpy(theta).to(image.dtype)[None], [1, *image.shape], align_corners=False)
    return F.grid_sample(image[None], grid, padding_mode="border", align_corners=False)[0]
