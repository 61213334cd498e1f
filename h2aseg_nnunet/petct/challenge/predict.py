"""From the images of a case to its mask, in this process: containers have little shared memory."""

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import SimpleITK
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.cases import ImageFiles
from h2aseg_nnunet.petct.challenge.budget import Budget, Choice, predict_folds
from h2aseg_nnunet.petct.challenge.files import CaseFiles
from h2aseg_nnunet.petct.challenge.interfaces import Interface
from h2aseg_nnunet.petct.images.grids import Grid, onto_one_grid, resample, same_grid, with_grid
from h2aseg_nnunet.petct.images.reading import read_image
from h2aseg_nnunet.petct.nnunet.dataset_json import read_dataset
from h2aseg_nnunet.petct.nnunet.exported import grid_of_training
from h2aseg_nnunet.petct.nnunet.exports import Logits, export, preprocess
from h2aseg_nnunet.petct.nnunet.models import find_folds, load_predictor

EXPORT_OVER_PREPROCESSING = 2.0
"""How much longer writing a mask may take than reading the images: both resample, the latter in more channels."""


class Prediction(NamedTuple):
    """How to predict.

    Attributes:
        places: Folders of which the first with a model counts; it may lie up to two levels below.
        folds: Folds to average; empty for all that are trained.
        checkpoint: Name of the checkpoint's file.
        step_size: Step of the sliding window, as a share of the patch.
        mirroring: Whether to use test-time augmentation.
        device: auto, cpu, cuda or mps.
    """

    places: tuple[Path, ...]
    folds: tuple[str, ...] = ()
    checkpoint: str = "checkpoint_final.pth"
    step_size: float = 0.5
    mirroring: bool = True
    device: str = "auto"


def predict_case(
    case: CaseFiles, interface: Interface, prediction: Prediction, budget: Budget
) -> tuple[SimpleITK.Image, Choice]:
    """Predict the mask of a case, on the grid that the challenge wants.

    Args:
        case: Its images.
        interface: The challenge.
        prediction: How to predict.
        budget: The time there is.

    Returns:
        The mask, nnUNetv2_predict's own where the images share a grid, and what it was made with.

    Raises:
        UserError: If images or model cannot be used.
    """
    model = find_model(prediction.places)
    dataset = read_dataset(model / "dataset.json")
    if dataset.num_channels != 2:
        raise UserError(f"the model reads {dataset.num_channels} images per case; the challenge gives CT and PET.")
    if case.ct is None or case.pet is None:
        raise UserError(case.problem)
    folds = find_folds(model, prediction.folds, prediction.checkpoint)
    images = {"ct": read_image(case.ct), "pet": read_image(case.pet)}
    own = Grid.of(images[interface.grid])
    channels = _on_one_grid(images["ct"], images["pet"], grid_of_training(model))
    predictor = load_predictor(
        nnUNetPredictor,
        model,
        folds,
        prediction.checkpoint,
        prediction.device,
        prediction.step_size,
        prediction.mirroring,
    )
    with TemporaryDirectory() as folder:
        ending = ".nii" if dataset.file_ending == ".nii.gz" else dataset.file_ending  # compressing takes longer
        files = [Path(folder) / f"case_{n:04d}{ending}" for n in range(len(channels))]
        for file, image in zip(files, channels, strict=True):
            SimpleITK.WriteImage(image, str(file))
        began = time.monotonic()
        data, properties = preprocess(predictor, ImageFiles("case", files))
        reserve = EXPORT_OVER_PREPROCESSING * (time.monotonic() - began)
        logits, choice = predict_folds(predictor, data, budget, reserve)
        written = Path(folder) / f"mask{dataset.file_ending}"
        export(Logits.of(predictor, logits, properties, written))
        mask = with_grid(SimpleITK.ReadImage(str(written)), Grid.of(channels[0]))  # some writers round the header
    mask = mask if mask.GetSize() == own.size and same_grid(Grid.of(mask), own) else resample(mask, own, linear=False)
    return mask != 0 if interface.classes == 1 else mask, choice


def find_model(places: Sequence[Path]) -> Path:
    """Return the folder of the model: tarballs of weights differ in what they begin with.

    Raises:
        UserError: If there is none, or several.
    """
    for place in places:
        for pattern in ("plans.json", "*/plans.json", "*/*/plans.json"):
            found = sorted(place.glob(pattern))
            if len(found) > 1:
                raise UserError(f"{place} holds {len(found)} models, one was expected: name it with -m.")
            if found:
                return found[0].parent
    raise UserError(f"no model lies in {' or '.join(map(str, places))}: a folder with plans.json was expected.")


def _on_one_grid(ct: SimpleITK.Image, pet: SimpleITK.Image, grid: str) -> tuple[SimpleITK.Image, SimpleITK.Image]:
    """CT and PET as they are if they share a grid, else on the grid of the model's training."""
    if same_grid(Grid.of(ct), Grid.of(pet)):
        return ct, with_grid(pet, Grid.of(ct))
    return onto_one_grid(ct, pet, grid)
