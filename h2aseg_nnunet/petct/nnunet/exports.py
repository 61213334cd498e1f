"""nnU-Net's preprocessing of a case for prediction, and its export of logits."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from nnunetv2.inference.export_prediction import export_prediction_from_logits
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from numpy.typing import NDArray
from torch import Tensor

from h2aseg_nnunet.petct.files import replacing
from h2aseg_nnunet.petct.nnunet.cases import ImageFiles


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


def preprocess(predictor: nnUNetPredictor, case: ImageFiles) -> tuple[Tensor, dict[str, Any]]:
    """Preprocess a case as nnU-Net does for prediction: the image (c, *), and what its export needs to know.

    Raises:
        UserError: If images cannot be read or do not share one grid.
    """
    case.read()  # nnU-Net's reader would give no reason
    configuration = predictor.configuration_manager
    data, _, properties = configuration.preprocessor_class(verbose=False).run_case(
        [str(file) for file in case.images], None, predictor.plans_manager, configuration, predictor.dataset_json
    )
    return torch.from_numpy(data).to(torch.float32, memory_format=torch.contiguous_format), properties


def export(logits: Logits) -> None:
    """Write a mask by nnU-Net's own export; the file is whole or not there."""
    ending = logits.about[2]["file_ending"]
    with replacing(logits.file) as temporary:
        truncated = str(temporary).removesuffix(ending)
        export_prediction_from_logits(logits.values, logits.properties, *logits.about, truncated)
