"""A trained H2ASeg from nnU-Net's results folder, ready to be explained."""

from pathlib import Path
from typing import NamedTuple

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.network.h2aseg import H2ASeg
from h2aseg_nnunet.network.readings import unwrap
from h2aseg_nnunet.petct.nnunet.models import find_folds, load_predictor
from h2aseg_nnunet.petct.nnunet.sliding import MapMergingPredictor


class Model(NamedTuple):
    """One fold of a trained H2ASeg.

    Attributes:
        predictor: nnU-Net's predictor, without mirroring and without torch.compile, whose code does not call hooks.
        folder: nnU-Net's results folder of the model, TRAINER__PLANS__CONFIGURATION.
        fold: A number, or "all".
        checkpoint: Name of the file in the fold's folder.
    """

    predictor: MapMergingPredictor
    folder: Path
    fold: str
    checkpoint: str

    @property
    def network(self) -> H2ASeg:
        """The network, not wrapped."""
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
        fold: A number, or "all"; default: the first that has the checkpoint.
        checkpoint: Name of the file in the fold's folder.
        device: cpu, cuda, mps, or auto: a CUDA GPU if there is one.
        step_size: Step of the sliding window, as a share of the patch.

    Raises:
        UserError: If files are missing, or the network is not an H2ASeg.
    """
    folder = Path(folder)
    fold, *_ = find_folds(folder, None if fold is None else [fold], checkpoint)
    predictor = load_predictor(MapMergingPredictor, folder, [fold], checkpoint, device, step_size, mirroring=False)
    try:
        network = unwrap(predictor.network)
    except ValueError as error:
        raise UserError(
            f"{folder} was trained by {predictor.trainer_name}: {error} h2aseg explain reads H2ASeg's weighting and "
            "attention, which no other network has. Give a model trained with -tr nnUNetTrainerH2ASeg."
        ) from error
    predictor.allow_tqdm = True
    predictor.network = network.to(predictor.device).eval()
    return Model(predictor, folder, fold, checkpoint)
