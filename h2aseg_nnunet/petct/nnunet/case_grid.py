"""From the grid of a case's files to the grid on which nnU-Net predicts, and back."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import SimpleITK
import torch
from acvl_utils.cropping_and_padding.bounding_boxes import insert_crop_into_image
from nnunetv2.imageio.nibabel_reader_writer import NibabelIO, NibabelIOWithReorient
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO, SimpleITKIOWithReorient
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from numpy.typing import NDArray
from SimpleITK import GetArrayFromImage, Image

from h2aseg_nnunet.errors import UserError

REORIENTED = "RAS"
"""Orientation to which nnU-Net's reorienting readers turn images."""


class CaseGrid:
    """The grids of one case; nnU-Net's reader, transposition, cropping and resampling lie between them.

    Args:
        predictor: nnU-Net's predictor, with its plans and configuration.
        image: One of the case's images, as it lies in the file.
        properties: What nnU-Net's preprocessing noted about the case.

    Raises:
        UserError: If the dataset's reader reads files without positions in space.
    """

    def __init__(self, predictor: nnUNetPredictor, image: Image, properties: dict[str, Any]):
        reader = predictor.plans_manager.image_reader_writer_class
        if not issubclass(reader, (SimpleITKIO, NibabelIO, NibabelIOWithReorient)):
            raise UserError(
                f"The dataset is read by {reader.__name__}, whose files hold no positions in space: a model of NIfTI, "
                "MHA or NRRD images is expected."
            )
        reorients = issubclass(reader, (SimpleITKIOWithReorient, NibabelIOWithReorient))
        self.image = image
        self._read = SimpleITK.DICOMOrient(image, REORIENTED) if reorients else image
        self._plans, self._configuration = predictor.plans_manager, predictor.configuration_manager
        self._properties = properties

    def to_file(self, array: NDArray) -> Image:
        """Bring an array (z, y, x), laid out as nnU-Net's reader and export do, onto the file's grid."""
        read = SimpleITK.GetImageFromArray(array)
        read.CopyInformation(self._read)
        if self._read is self.image:
            return read
        code = SimpleITK.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(self.image.GetDirection())
        image = SimpleITK.DICOMOrient(read, code)
        image.CopyInformation(self.image)
        return image

    def from_preprocessed(self, volume: torch.Tensor, outside: float = 0.0) -> Image:
        """Bring a map (*) of the preprocessed grid onto the file's, in single precision.

        Args:
            volume: The map.
            outside: Value in the margin that nnU-Net cuts off.
        """
        properties = self._properties
        cropped_shape = properties["shape_after_cropping_and_before_resampling"]
        file_spacing = [properties["spacing"][axis] for axis in self._plans.transpose_forward]
        spacing = self._configuration.spacing
        if len(spacing) < len(cropped_shape):  # 2D: the distance of slices stays
            spacing = [file_spacing[0], *spacing]
        resampled = self._configuration.resampling_fn_probabilities(
            volume[None].float().cpu().numpy(), cropped_shape, spacing, file_spacing
        )
        array = np.full(properties["shape_before_cropping"], outside, np.float32)
        array = insert_crop_into_image(array, np.asarray(resampled)[0], properties["bbox_used_for_cropping"])
        return self.to_file(array.transpose(self._plans.transpose_backward))

    @property
    def inside(self) -> NDArray[np.bool_]:
        """The file's voxels (z, y, x) that are left after nnU-Net has cut off the empty margin."""
        array = np.zeros(self._properties["shape_before_cropping"], bool)
        array[tuple(slice(*bounds) for bounds in self._properties["bbox_used_for_cropping"])] = True
        return GetArrayFromImage(self.to_file(array.transpose(self._plans.transpose_backward).astype(np.uint8))) > 0

    def to_preprocessed(self, index_xyz: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
        """Find the voxel of the preprocessed grid that holds the center of a voxel of the file.

        Args:
            index_xyz: Voxel of the file.
            shape: Extents of the preprocessed grid.

        Raises:
            UserError: If nnU-Net cuts the voxel off because all images are zero around it.
        """
        point = self.image.TransformIndexToPhysicalPoint([int(i) for i in index_xyz])
        index_zyx = self._read.TransformPhysicalPointToIndex(point)[::-1]
        index = [index_zyx[axis] for axis in self._plans.transpose_forward]
        box = self._properties["bbox_used_for_cropping"]
        if not all(low <= i < high for i, (low, high) in zip(index, box, strict=True)):
            raise UserError(
                f"Voxel {tuple(index_xyz)} lies in the empty margin that nnU-Net cuts off: choose one in the body."
            )
        cropped_shape = self._properties["shape_after_cropping_and_before_resampling"]
        return tuple(
            (2 * (i - low) + 1) * extent // (2 * cropped)
            for i, (low, _), extent, cropped in zip(index, box, shape, cropped_shape, strict=True)
        )
