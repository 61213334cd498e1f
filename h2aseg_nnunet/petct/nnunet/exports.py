"""nnU-Net's preprocessing of a case for prediction, and its way back from logits to masks."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from nnunetv2.inference.export_prediction import (
    convert_predicted_logits_to_segmentation_with_correct_shape,
    export_prediction_from_logits,
)
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.label_handling.label_handling import convert_labelmap_to_one_hot
from numpy.typing import NDArray
from torch import Tensor

from h2aseg_nnunet.petct.cases import ImageFiles
from h2aseg_nnunet.petct.files import replacing


class Logits(NamedTuple):
    """Logits of one case, and all that another process needs to write them as a mask.

    Attributes:
        values: Logits (classes, *) on nnU-Net's preprocessed grid. An array: tensors go to other processes through
            shared memory, of which containers have little.
        properties: What nnU-Net's preprocessing has noted.
        about: nnU-Net's configuration manager, plans manager and dataset.json.
        file: The mask to write.
    """

    values: NDArray
    properties: dict[str, Any]
    about: tuple[Any, Any, dict[str, Any]]
    file: Path

    @classmethod
    def of(cls, predictor: nnUNetPredictor, values: Tensor, properties: dict[str, Any], file: Path) -> "Logits":
        """What a predictor says of a case that it has preprocessed."""
        about = predictor.configuration_manager, predictor.plans_manager, predictor.dataset_json
        return cls(values.numpy(), properties, about, file)


def preprocess(
    predictor: nnUNetPredictor, case: ImageFiles, previous_stage: Path | None = None
) -> tuple[Tensor, dict[str, Any]]:
    """Preprocess a case as nnU-Net does for prediction.

    Call `read_case` before: where images are damaged or do not fit, nnU-Net's reader gives no reason.

    Args:
        predictor: nnU-Net's predictor.
        case: The images.
        previous_stage: Segmentation by the previous stage of a cascade, whose classes become further channels.

    Returns:
        The image (c, *), and the properties that nnU-Net's export needs.
    """
    configuration = predictor.configuration_manager
    data, labels, properties = configuration.preprocessor_class(verbose=False).run_case(
        [str(file) for file in case.images],
        None if previous_stage is None else str(previous_stage),
        predictor.plans_manager,
        configuration,
        predictor.dataset_json,
    )
    if previous_stage is not None:
        one_hot = convert_labelmap_to_one_hot(labels[0], predictor.label_manager.foreground_labels, data.dtype)
        data = np.vstack((data, one_hot))
    return torch.from_numpy(np.ascontiguousarray(data)).float(), properties


def export(logits: Logits) -> None:
    """Write a mask by nnU-Net's own export; the file is whole or not there."""
    ending = logits.about[2]["file_ending"]
    with replacing(logits.file) as temporary:
        truncated = str(temporary).removesuffix(ending)
        export_prediction_from_logits(logits.values, logits.properties, *logits.about, truncated)


def to_masks(predictor: nnUNetPredictor, logits: Tensor, properties: dict[str, Any]) -> tuple[NDArray, NDArray]:
    """Bring logits (num_classes, *) back onto the grid that nnU-Net's reader gave.

    Returns:
        Labels (z, y, x), and probabilities of each class or region (num_classes, z, y, x).
    """
    labels, probabilities = convert_predicted_logits_to_segmentation_with_correct_shape(
        logits,
        predictor.plans_manager,
        predictor.configuration_manager,
        predictor.label_manager,
        properties,
        return_probabilities=True,
        num_threads_torch=torch.get_num_threads(),
    )
    return labels, probabilities


def probabilities_of(logits: Logits) -> NDArray:
    """Bring probabilities back onto the grid of the case's images, (classes or regions, z, y, x)."""
    configuration, plans, dataset_json = logits.about
    manager = plans.get_label_manager(dataset_json)
    _, probabilities = convert_predicted_logits_to_segmentation_with_correct_shape(
        logits.values, plans, configuration, manager, logits.properties, return_probabilities=True
    )
    return probabilities
