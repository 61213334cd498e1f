"""Trained models in nnU-Net's results folder: their folds, the device to run them on, and nnU-Net's predictor."""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.modalities import channels_of_plan
from h2aseg_nnunet.petct.nnunet.exported import require_whole

Predictor = TypeVar("Predictor", bound=nnUNetPredictor)


def choose_device(name: str) -> torch.device:
    """Set a device up as nnU-Net's commands do; "auto" is a CUDA GPU if there is one.

    Raises:
        UserError: If there is no such device here.
    """
    name = name if name != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available[name]:
        raise UserError(f"torch sees no {name} device here: choose -device cpu, or run where there is one.")
    if name == "cuda":
        torch.set_num_threads(1)  # more do not help where a GPU computes
        torch.backends.cudnn.benchmark = True
    return torch.device(name, 0) if name == "cuda" else torch.device(name)


def trained_folds(model: Path, checkpoint: str) -> list[str]:
    """Return the folds of a model that have the checkpoint: numbers, then "all".

    Raises:
        UserError: If the folder is not a model's.
    """
    missing = [name for name in ("dataset.json", "plans.json") if not (model / name).is_file()]
    if missing:
        raise UserError(
            f"-m {model}: {' and '.join(missing)} missing. Give the folder TRAINER__PLANS__CONFIGURATION of "
            "nnUNet_results that holds fold_0, ..."
        )
    return sorted(file.parent.name.removeprefix("fold_") for file in model.glob(f"fold_*/{checkpoint}"))


def find_folds(model: Path, folds: Sequence[str] | None, checkpoint: str) -> list[str]:
    """Return the folds that are asked for, or all that have the checkpoint; `all` only if there is no other.

    Raises:
        UserError: If files are missing, or those of an export are damaged.
    """
    require_whole(model)
    there = trained_folds(model, checkpoint)
    wanted = list(dict.fromkeys(folds)) if folds else [fold for fold in there if fold != "all"] or there
    absent = [fold for fold in wanted if fold not in there]
    if absent or not wanted:
        file = model / f"fold_{absent[0] if absent else '*'}" / checkpoint
        raise UserError(f"{file} does not exist; folds with that file: {', '.join(there) or 'none'}.")
    return wanted


def load_predictor(
    kind: type[Predictor],
    model: str | Path,
    folds: Sequence[str],
    checkpoint: str,
    device: str = "auto",
    step_size: float = 0.5,
    mirroring: bool = True,
) -> Predictor:
    """Make nnU-Net's predictor, or a subclass of it, as nnUNetv2_predict does.

    Args:
        kind: Class of the predictor.
        model: nnU-Net's results folder of one model, with dataset.json, plans.json and fold_0, ...
        folds: Numbers, or "all"; several are averaged as nnU-Net does.
        checkpoint: Name of the file in each fold's folder.
        device: cpu, cuda, mps, or auto: a CUDA GPU if there is one.
        step_size: Step of the sliding window, as a share of the patch.
        mirroring: Whether to use nnU-Net's test-time augmentation.

    Raises:
        UserError: If the device is missing, or an argument does not fit.
    """
    if not 0 < step_size <= 1:
        raise UserError(f"-step_size {step_size}: windows must overlap or touch, so at most 1 and more than 0.")
    chosen = choose_device(device)
    with contextlib.redirect_stdout(io.StringIO()):  # remarks on devices and searched folders
        predictor = kind(
            tile_step_size=step_size,
            use_mirroring=mirroring,
            perform_everything_on_device=chosen.type == "cuda",
            device=chosen,
            allow_tqdm=False,
        )
        predictor.initialize_from_trained_model_folder(str(model), tuple(folds), checkpoint)
    return predictor


def modality_channels(predictor: nnUNetPredictor) -> dict[str, list[int]]:
    """Return the image channels that are CT's only, and PET's only, by `channels_of_plan`.

    Raises:
        UserError: If a modality has none.
    """
    configuration = predictor.configuration_manager
    schemes, named = configuration.normalization_schemes, configuration.network_arch_init_kwargs
    if len(schemes) < 2:
        raise UserError(f"The model reads {len(schemes)} image channel: CT and PET are expected.")
    try:
        ct, pet = map(set, channels_of_plan(named, schemes, len(schemes)))
    except ValueError as error:
        raise UserError(str(error)) from error
    if not ct - pet or not pet - ct:
        raise UserError(f"The plan's ct_channels {sorted(ct)} and pet_channels {sorted(pet)} share all of one stream.")
    return {"CT": sorted(ct - pet), "PET": sorted(pet - ct)}
