"""A trained model from nnU-Net's results folder, ready to be explained."""

import contextlib
import io
from pathlib import Path
from typing import NamedTuple

import torch

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.explain.sliding import ExplainingPredictor
from h2aseg_nnunet.network.h2aseg import H2ASeg
from h2aseg_nnunet.network.readings import plain


class Model(NamedTuple):
    """One fold of a trained H2ASeg.

    Attributes:
        predictor: nnU-Net's, without mirroring and without torch.compile, whose code would pass hooks by.
        folder: nnU-Net's, TRAINER__PLANS__CONFIGURATION.
        fold: A number, or "all".
        checkpoint: Name of the file.
    """

    predictor: ExplainingPredictor
    folder: Path
    fold: str
    checkpoint: str

    @property
    def network(self) -> H2ASeg:
        return self.predictor.network

    @property
    def modality_channels(self) -> dict[str, list[int]]:
        """Images that feed one stream only; the previous stage's segmentation of a cascade feeds both."""
        ct, pet = set(self.network.ct_channels), set(self.network.pet_channels)
        return {"CT": sorted(ct - pet), "PET": sorted(pet - ct)}


def load_model(
    folder: str | Path,
    fold: str | None = None,
    checkpoint: str = "checkpoint_final.pth",
    device: str = "auto",
    step_size: float = 0.5,
) -> Model:
    """Load one fold as nnUNetv2_predict does.

    Args:
        folder: nnU-Net's results folder of one model, with dataset.json, plans.json and fold_0, ...
        fold: Default: the first that has the checkpoint.
        checkpoint: Name of the file in the fold's folder.
        device: cpu, cuda, mps, or auto: a CUDA GPU if there is one.
        step_size: Of the sliding window, in patches.

    Raises:
        UserError: If files are missing, or the network is no H2ASeg.
    """
    folder = Path(folder)
    fold = _find_fold(folder, fold, checkpoint)
    if not 0 < step_size <= 1:
        raise UserError(f"-step_size {step_size}: windows must overlap or touch, so at most 1 and more than 0.")
    device = device if device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("-device cuda: torch finds no CUDA device here; use -device cpu.")
    with contextlib.redirect_stdout(io.StringIO()):  # remarks on devices and searched folders
        predictor = ExplainingPredictor(
            tile_step_size=step_size,
            use_mirroring=False,
            perform_everything_on_device=device == "cuda",
            device=torch.device(device),
        )
        predictor.initialize_from_trained_model_folder(str(folder), (fold,), checkpoint)
    network = getattr(predictor.network, "_orig_mod", predictor.network)
    if not isinstance(network, H2ASeg):
        raise UserError(
            f"{folder} was trained by {predictor.trainer_name}, whose network is {type(network).__name__}: h2aseg "
            "explain reads H2ASeg's weighting and attention, which no other network has. Give a model trained with "
            "-tr nnUNetTrainerH2ASeg."
        )
    predictor.network = plain(network).to(predictor.device).eval()
    return Model(predictor, folder, fold, checkpoint)


def trained_folds(folder: Path, checkpoint: str) -> list[str]:
    """The folds of a model that have the checkpoint.

    Raises:
        UserError: If the folder is no model's.
    """
    missing = [name for name in ("dataset.json", "plans.json") if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"-m {folder}: {' and '.join(missing)} missing. Give the folder TRAINER__PLANS__CONFIGURATION of "
            "nnUNet_results that holds fold_0, ..."
        )
    return sorted(file.parent.name.removeprefix("fold_") for file in folder.glob(f"fold_*/{checkpoint}"))


def _find_fold(folder: Path, fold: str | None, checkpoint: str) -> str:
    folds = trained_folds(folder, checkpoint)
    if not folds or (fold is not None and fold not in folds):
        wanted = "fold_*" if fold is None else f"fold_{fold}"
        raise UserError(f"{folder / wanted / checkpoint} does not exist; folds with that file: {folds or 'none'}.")
    return fold if fold is not None else folds[0]
