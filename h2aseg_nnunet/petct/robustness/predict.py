"""Every case predicted under every condition, with nnU-Net's own preprocessing, sliding window and export."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from tqdm import tqdm

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.cases import ImageFiles
from h2aseg_nnunet.petct.images.reading import read_case
from h2aseg_nnunet.petct.nnunet.exports import Logits, export, preprocess
from h2aseg_nnunet.petct.nnunet.models import load_predictor, modality_channels
from h2aseg_nnunet.petct.parallel import in_parallel
from h2aseg_nnunet.petct.robustness.conditions import Condition


class PredictionSettings(NamedTuple):
    """What a prediction depends on, besides its condition.

    Attributes:
        model: nnU-Net's results folder of one model, with dataset.json, plans.json and fold_0, ...
        images: Folder of case_0000.nii.gz and so on.
        folds: Numbers, or "all"; several are averaged as nnU-Net does.
        checkpoint: Name of the file in each fold's folder.
        step_size: Step of the sliding window, as a share of the patch.
        mirroring: Whether to use nnU-Net's test-time augmentation.
    """

    model: str
    images: str
    folds: list[str]
    checkpoint: str = "checkpoint_final.pth"
    step_size: float = 0.5
    mirroring: bool = True

    @property
    def checkpoints(self) -> list[Path]:
        """Files of the folds."""
        return [Path(self.model, f"fold_{fold}", self.checkpoint) for fold in self.folds]


class AlteredCase(NamedTuple):
    """One case under one condition, and the file for its prediction."""

    case: ImageFiles
    condition: Condition
    file: Path


def load_single_stage(settings: PredictionSettings, device: str = "auto") -> nnUNetPredictor:
    """Load the model as nnUNetv2_predict does.

    Raises:
        UserError: If the device is missing, settings or model do not fit, or the model lacks CT or PET.
    """
    predictor = load_predictor(
        nnUNetPredictor,
        settings.model,
        settings.folds,
        settings.checkpoint,
        device,
        settings.step_size,
        settings.mirroring,
    )
    if predictor.configuration_manager.previous_stage_name is not None:
        raise UserError(
            f"{settings.model} is the second stage of a cascade: the first stage would have to predict the altered "
            "images as well. Give the model of a single stage, such as 3d_fullres or 3d_lowres."
        )
    modality_channels(predictor)  # complains
    return predictor


def predict(predictor: nnUNetPredictor, wanted: Sequence[AlteredCase], num_processes: int = 1) -> None:
    """Write the predictions, each file whole or not there; an image is preprocessed once for all its conditions.

    Args:
        predictor: The model, from `load_single_stage`.
        wanted: What to predict; the conditions of one case are next to each other.
        num_processes: Number of processes that resample and write while the network predicts on; 1 stays in this one.

    Raises:
        UserError: If images cannot be read or do not share one grid, or a process is killed.
    """
    if not wanted:
        return
    with tqdm(desc="predictions", total=len(wanted)) as progress:
        for _ in in_parallel(export, _logits(predictor, wanted, progress), num_processes):
            progress.update()


def _logits(predictor: nnUNetPredictor, wanted: Sequence[AlteredCase], progress: tqdm) -> Iterator[Logits]:
    channels = modality_channels(predictor)
    for case, of_case in itertools.groupby(wanted, key=lambda altered: altered.case):
        read_case(case)  # complains, with a reason
        data, properties = preprocess(predictor, case)
        for _, condition, file in of_case:
            progress.set_postfix_str(f"{case.name}, {condition.description}")
            logits = predictor.predict_logits_from_preprocessed_data(condition.apply(data, channels))
            yield Logits.of(predictor, logits, properties, file)
