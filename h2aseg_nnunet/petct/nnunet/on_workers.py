"""A model on the workers of a cluster: loaded once per worker; arrays go from step to step through shared files."""

import pickle
import shutil
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from h2aseg_nnunet.petct.files import read_json, replacing
from h2aseg_nnunet.petct.nnunet.models import load_predictor

SHELF = ".h2aseg-steps-"

_one_at_a_time = threading.Lock()
"""nnU-Net's predictor changes its network's weights from fold to fold: the threads of a worker take turns."""


class Model(NamedTuple):
    """What a worker needs to load a model.

    Attributes:
        folder: nnU-Net's results folder of the model.
        folds: Folds to average.
        checkpoint: Name of the file in each fold's folder.
        device: cpu, cuda, mps or auto, on the worker.
        step_size: Step of the sliding window, as a share of the patch.
        mirroring: Whether to use nnU-Net's test-time augmentation.
        state: Size and time of change of the checkpoints: a model that was trained anew is loaded anew.
    """

    folder: str
    folds: tuple[str, ...]
    checkpoint: str
    device: str
    step_size: float
    mirroring: bool
    state: tuple[tuple[int, int], ...]

    @classmethod
    def of(
        cls, folder: str | Path, folds: Sequence[str], checkpoint: str, device: str, step_size: float, mirroring: bool
    ) -> "Model":
        """Describe a model as it is now."""
        files = [Path(folder, f"fold_{fold}", checkpoint) for fold in folds]
        state = tuple((file.stat().st_size, file.stat().st_mtime_ns) for file in files)
        return cls(str(folder), tuple(folds), checkpoint, device, step_size, mirroring, state)


@contextmanager
def predictor_of(model: Model) -> Iterator[nnUNetPredictor]:
    """Yield nnU-Net's predictor of a model, to one thread of this worker at a time."""
    with _one_at_a_time:
        yield _load(model)


@lru_cache(maxsize=1)
def _load(model: Model) -> nnUNetPredictor:
    return load_predictor(
        nnUNetPredictor,
        model.folder,
        model.folds,
        model.checkpoint,
        model.device,
        model.step_size,
        model.mirroring,
    )


@lru_cache(maxsize=1)
def description_of(model: Model) -> nnUNetPredictor:
    """Return a predictor without its network: enough to preprocess, on workers that do not predict."""
    checkpoint = torch.load(
        Path(model.folder, f"fold_{model.folds[0]}", model.checkpoint), map_location="cpu", weights_only=False
    )
    predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
    predictor.plans_manager = PlansManager(read_json(Path(model.folder, "plans.json")))
    predictor.configuration_manager = predictor.plans_manager.get_configuration(
        checkpoint["init_args"]["configuration"]
    )
    predictor.dataset_json = read_json(Path(model.folder, "dataset.json"))
    predictor.label_manager = predictor.plans_manager.get_label_manager(predictor.dataset_json)
    return predictor


@contextmanager
def shelf(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder inside `folder` for arrays on their way, which goes in the end with all that is in it.

    Its name is new each time: a worker that an earlier command has given up may still write and remove such files.
    """
    for earlier in folder.glob(f"{SHELF}*"):
        shutil.rmtree(earlier, ignore_errors=True)
    path = folder / f"{SHELF}{uuid.uuid4().hex[:8]}"
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def put(content: Any, file: Path) -> Path:
    """Write arrays and what belongs to them for the next step, and return the file."""
    with replacing(file) as temporary, temporary.open("wb") as stream:
        pickle.dump(content, stream, protocol=pickle.HIGHEST_PROTOCOL)
    return file


def get(file: Path) -> Any:
    """Read what the step before has put there."""
    with file.open("rb") as stream:
        return pickle.load(stream)
