"""One case as the model sees it: preprocessed by nnU-Net, predicted, and brought back to its files' grid."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.utilities.label_handling.label_handling import convert_labelmap_to_one_hot
from numpy.typing import NDArray
from SimpleITK import GetArrayViewFromImage, Image
from torch import Tensor

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.explain.grid import CaseGrid
from h2aseg_nnunet.explain.model import Model
from h2aseg_nnunet.petct.images.lesions import voxel_volume_ml
from h2aseg_nnunet.petct.images.orientation import spacing_zyx_mm
from h2aseg_nnunet.petct.nnunet.cases import ImageFiles


class Prediction(NamedTuple):
    """nnU-Net's prediction on the grid of the case: labels, and the probability of anything but background."""

    labels: Image
    probability: Image

    @property
    def tumor(self) -> NDArray[np.bool_]:
        return GetArrayViewFromImage(self.labels) > 0

    @property
    def probabilities(self) -> NDArray[np.float32]:
        return GetArrayViewFromImage(self.probability)

    @property
    def volume_ml(self) -> float:
        return float(self.tumor.sum() * voxel_volume_ml(spacing_zyx_mm(self.labels)))


class Case:
    """A case and its model.

    Args:
        model: From `load_model`.
        files: Of the case.
        previous_stage: Folder with the segmentations by a cascade's previous stage.

    Attributes:
        images: As they lie in the files, one per channel.
        data: (c, *), preprocessed.
        grid: Leads from data to images and back.

    Raises:
        UserError: If images do not fit, or the segmentation of the previous stage is missing.
    """

    def __init__(self, model: Model, files: ImageFiles, previous_stage: str | Path | None = None):
        self.model = model
        self.name = files.name
        self.images = files.read()
        self.data, self._properties = _preprocess(model, files, previous_stage)
        self.grid = CaseGrid(model.predictor, self.images[0], self._properties)

    def predict(self, data: Tensor) -> Prediction:
        """Predict preprocessed data of this case, or what became of it."""
        return self.export(self.model.predictor.predict_sliding_window_return_logits(data).cpu())

    def export(self, logits: Tensor) -> Prediction:
        """Logits (num_classes, *) of the preprocessed grid -> prediction, by nnU-Net's own export."""
        predictor = self.model.predictor
        labels, probabilities = convert_predicted_logits_to_segmentation_with_correct_shape(
            logits,
            predictor.plans_manager,
            predictor.configuration_manager,
            predictor.label_manager,
            self._properties,
            return_probabilities=True,
            num_threads_torch=torch.get_num_threads(),
        )
        tumor = probabilities.max(0) if predictor.label_manager.has_regions else 1 - probabilities[0]
        return Prediction(self.grid.to_file(labels), self.grid.to_file(tumor.astype(np.float32)))


def _preprocess(model: Model, files: ImageFiles, previous_stage: str | Path | None) -> tuple[Tensor, dict]:
    """nnU-Net's preprocessing of a case for prediction; the previous stage's labels become further channels."""
    predictor = model.predictor
    plans, configuration = predictor.plans_manager, predictor.configuration_manager
    segmentation = None
    if configuration.previous_stage_name is not None:
        segmentation = _previous(files.name, configuration.previous_stage_name, previous_stage, predictor.dataset_json)
    data, labels, properties = configuration.preprocessor_class(verbose=False).run_case(
        [str(file) for file in files.images], segmentation, plans, configuration, predictor.dataset_json
    )
    if segmentation is not None:
        one_hot = convert_labelmap_to_one_hot(labels[0], predictor.label_manager.foreground_labels, data.dtype)
        data = np.vstack((data, one_hot))
    return torch.from_numpy(np.ascontiguousarray(data)).float(), properties


def _previous(name: str, stage: str, folder: str | Path | None, dataset_json: dict) -> str:
    if folder is None:
        raise UserError(
            f"The model is the second stage of a cascade: give the folder of the segmentations by {stage} with "
            "-prev_stage_predictions."
        )
    file = Path(folder) / f"{name}{dataset_json['file_ending']}"
    if not file.is_file():
        raise UserError(f"{file} does not exist: the cascade needs the segmentation of {name} by {stage}.")
    return str(file)
