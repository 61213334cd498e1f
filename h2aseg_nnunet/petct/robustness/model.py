"""The trained model: which folds, on which device, and which of its channels are CT and PET."""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.explain.model import trained_folds
from h2aseg_nnunet.modalities import channels_of_plan
from h2aseg_nnunet.petct.compare.train import choose_device


class Settings(NamedTuple):
    """What a prediction depends on, besides its condition.

    Attributes:
        model: nnU-Net's results folder of one model, with dataset.json, plans.json and fold_0, ...
        images: Folder of case_0000.nii.gz and so on.
        folds: Numbers, or "all"; several are averaged as nnU-Net does.
        checkpoint: Name of the file in each fold's folder.
        step_size: Of the sliding window, in patches.
        mirroring: nnU-Net's test-time augmentation.
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


def find_folds(model: Path, folds: Sequence[str] | None, checkpoint: str) -> list[str]:
    """The folds that are asked for, or all that have the checkpoint; `all` only if there is no other.

    Raises:
        UserError: If files are missing.
    """
    there = trained_folds(model, checkpoint)
    wanted = list(dict.fromkeys(folds)) if folds else [fold for fold in there if fold != "all"] or there
    absent = [fold for fold in wanted if fold not in there]
    if absent or not wanted:
        file = model / f"fold_{absent[0] if absent else '*'}" / checkpoint
        raise UserError(f"{file} does not exist; folds with that file: {', '.join(there) or 'none'}.")
    return wanted


def load_predictor(settings: Settings, device: str = "auto") -> nnUNetPredictor:
    """nnU-Net's predictor, as nnUNetv2_predict makes it.

    Raises:
        UserError: If the device is missing, or settings or model do not fit.
    """
    if not 0 < settings.step_size <= 1:
        raise UserError(
            f"-step_size {settings.step_size}: windows must overlap or touch, so at most 1 and more than 0."
        )
    chosen = choose_device(device)
    with contextlib.redirect_stdout(io.StringIO()):  # remarks on devices
        predictor = nnUNetPredictor(
            tile_step_size=settings.step_size,
            use_mirroring=settings.mirroring,
            perform_everything_on_device=chosen.type == "cuda",
            device=chosen,
            allow_tqdm=False,
        )
        predictor.initialize_from_trained_model_folder(settings.model, settings.folds, settings.checkpoint)
    if predictor.configuration_manager.previous_stage_name is not None:
        raise UserError(
            f"{settings.model} is the second stage of a cascade: the first stage would have to predict the altered "
            "images as well. Give the model of a single stage, such as 3d_fullres or 3d_lowres."
        )
    return predictor


def modality_channels(predictor: nnUNetPredictor) -> dict[str, list[int]]:
    """Channels that are CT's only, and PET's, by `channels_of_plan`.

    Raises:
        UserError: If a modality has none.
    """
    configuration = predictor.configuration_manager
    schemes, named = configuration.normalization_schemes, configuration.network_arch_init_kwargs
    if len(schemes) < 2:
        raise UserError(f"The model reads {len(schemes)} image channel: CT and PET are expected.")
    ct, pet = map(set, channels_of_plan(named, schemes, len(schemes)))
    if not ct - pet or not pet - ct:
        raise UserError(f"The plan's ct_channels {sorted(ct)} and pet_channels {sorted(pet)} share all of one stream.")
    return {"CT": sorted(ct - pet), "PET": sorted(pet - ct)}
