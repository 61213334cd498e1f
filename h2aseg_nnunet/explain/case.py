"""One case as the model sees it: preprocessed by nnU-Net, predicted, and brought back to its files' grid."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from SimpleITK import GetArrayViewFromImage, Image
from torch import Tensor

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.explain.model import Model
from h2aseg_nnunet.petct.cases import ImageFiles
from h2aseg_nnunet.petct.images.lesions import label_components, lesions, voxel_volume_ml
from h2aseg_nnunet.petct.images.orientation import spacing_zyx_mm
from h2aseg_nnunet.petct.images.reading import read_case
from h2aseg_nnunet.petct.nnunet.case_grid import CaseGrid
from h2aseg_nnunet.petct.nnunet.exports import preprocess, to_masks


class CasePrediction(NamedTuple):
    """nnU-Net's prediction on the grid of the case: labels, and the probability of anything but background."""

    labels: Image
    probability: Image

    @property
    def tumor(self) -> NDArray[np.bool_]:
        """Predicted tumor (z, y, x)."""
        return GetArrayViewFromImage(self.labels) > 0

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """Probability of tumor (z, y, x)."""
        return GetArrayViewFromImage(self.probability)

    @property
    def volume_ml(self) -> float:
        """Volume of the predicted tumor."""
        return float(self.tumor.sum() * voxel_volume_ml(spacing_zyx_mm(self.labels)))


class ExplainedCase:
    """A case and its model.

    Args:
        model: The model, from `load_model`.
        files: The images of the case.
        previous_stage: Folder with the segmentations by a cascade's previous stage.

    Attributes:
        images: The images as they lie in the files, one per channel.
        data: The preprocessed image (c, *).
        grid: The way from data to images and back.

    Raises:
        UserError: If images do not fit, or the segmentation of the previous stage is missing.
    """

    def __init__(self, model: Model, files: ImageFiles, previous_stage: str | Path | None = None):
        self.model = model
        self.name = files.name
        self.images = read_case(files)
        segmentation = _previous_segmentation(model, files.name, previous_stage)
        self.data, self._properties = preprocess(model.predictor, files, segmentation)
        self.grid = CaseGrid(model.predictor, self.images[0], self._properties)

    def predict(self, data: Tensor) -> CasePrediction:
        """Predict preprocessed data of this case, or what became of it."""
        return self.export(self.model.predictor.predict_sliding_window_return_logits(data).cpu())

    def export(self, logits: Tensor) -> CasePrediction:
        """Turn logits (num_classes, *) of the preprocessed grid into a prediction, by nnU-Net's own export."""
        labels, probabilities = to_masks(self.model.predictor, logits, self._properties)
        has_regions = self.model.predictor.label_manager.has_regions
        tumor = probabilities.max(0) if has_regions else 1 - probabilities[0]
        return CasePrediction(self.grid.to_file(labels), self.grid.to_file(tumor.astype(np.float32)))


def _previous_segmentation(model: Model, name: str, folder: str | Path | None) -> Path | None:
    """Return the file of a cascade's previous stage; None if the model is not the second stage of a cascade."""
    stage = model.predictor.configuration_manager.previous_stage_name
    if stage is None:
        return None
    if folder is None:
        raise UserError(
            f"The model is the second stage of a cascade: give the folder of the segmentations by {stage} with "
            "-prev_stage_predictions."
        )
    file = Path(folder) / f"{name}{model.predictor.dataset_json['file_ending']}"
    if not file.is_file():
        raise UserError(f"{file} does not exist: the cascade needs the segmentation of {name} by {stage}.")
    return file


class Voxel(NamedTuple):
    """A voxel of the input, and why this one.

    Attributes:
        index_xyz: Index in the file, from 0.
        point_mm: Its center, in the coordinates of ITK (x to the left, y to the back, z to the head).
        chosen: Why it was chosen, in words.
    """

    index_xyz: tuple[int, int, int]
    point_mm: tuple[float, float, float]
    chosen: str


def given_voxel(
    image: Image, index_xyz: Sequence[int] | None = None, point_mm: Sequence[float] | None = None
) -> Voxel | None:
    """Return the user's voxel, given as an index or as a point; None if neither is given.

    Raises:
        UserError: If it lies outside the image, or both are given.
    """
    if index_xyz is not None and point_mm is not None:
        raise UserError("Give --voxel or --point, not both.")
    if index_xyz is not None:
        return _voxel(image, index_xyz, "given as --voxel")
    if point_mm is not None:
        return _voxel(image, image.TransformPhysicalPointToIndex([float(mm) for mm in point_mm]), "given as --point")
    return None


def default_voxel(image: Image, prediction: CasePrediction, inside: NDArray[np.bool_]) -> Voxel:
    """Return the middle of the largest predicted lesion, or the most probable voxel if no tumor is predicted.

    Args:
        image: An image of the case.
        prediction: The prediction of the case.
        inside: The voxels (z, y, x) that the network saw.
    """
    if prediction.tumor.any():
        middle = _middle_of_largest(prediction.tumor, spacing_zyx_mm(image))
        return _voxel(image, middle[::-1], "middle of the largest lesion")
    seen = np.where(inside, prediction.probabilities, -1)
    most = np.array(np.unravel_index(seen.argmax(), seen.shape))
    return _voxel(image, most[::-1], "most probable, for no tumor is predicted")


def _middle_of_largest(mask: NDArray, spacing_mm: Sequence[float]) -> NDArray:
    """Return the voxel farthest from the border of the largest lesion: inside it, whatever its shape."""
    largest = max(lesions(mask, spacing_mm), key=lambda lesion: lesion.volume_ml)
    labels, _ = label_components(mask)
    inside = np.pad(labels[largest.bounding_box] == largest.label, 1)
    depth_mm = ndimage.distance_transform_edt(inside, sampling=spacing_mm)
    deepest = np.array(np.unravel_index(depth_mm.argmax(), depth_mm.shape)) - 1
    return deepest + [part.start for part in largest.bounding_box]


def _voxel(image: Image, index_xyz: Sequence[int] | NDArray, chosen: str) -> Voxel:
    x, y, z = map(int, index_xyz)
    index = (x, y, z)
    if not all(0 <= i < size for i, size in zip(index, image.GetSize(), strict=True)):
        size = " x ".join(map(str, image.GetSize()))
        raise UserError(f"The voxel {chosen}, {index}, lies outside the image of {size} voxels.")
    return Voxel(index, image.TransformIndexToPhysicalPoint(index), chosen)
