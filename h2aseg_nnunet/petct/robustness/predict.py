"""Every case predicted under every condition, with nnU-Net's own preprocessing, sliding window and export."""

import itertools
import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from nnunetv2.inference.export_prediction import export_prediction_from_logits
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.file_path_utilities import check_workers_alive_and_busy
from torch import Tensor
from tqdm import tqdm

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.files import replacing
from h2aseg_nnunet.petct.nnunet.cases import ImageFiles
from h2aseg_nnunet.petct.robustness.conditions import Condition
from h2aseg_nnunet.petct.robustness.model import modality_channels


class Prediction(NamedTuple):
    """One case under one condition, and the file for it."""

    case: ImageFiles
    condition: Condition
    file: Path


def predict(predictor: nnUNetPredictor, predictions: Sequence[Prediction], num_processes: int = 1) -> None:
    """Write the predictions, each file whole or not there; an image is preprocessed once for all its conditions.

    Args:
        predictor: From `load_predictor`.
        predictions: Those of one case next to each other.
        num_processes: That resample and write while the network predicts on; 1 stays in this process.

    Raises:
        UserError: If images cannot be read or do not share one grid.
        RuntimeError: If a process is killed.
    """
    if not predictions:
        return
    channels = modality_channels(predictor)
    about = predictor.configuration_manager, predictor.plans_manager, predictor.dataset_json
    with _Exports(num_processes) as exports, tqdm(desc="predictions", total=len(predictions)) as progress:
        for case, of_case in itertools.groupby(predictions, key=lambda prediction: prediction.case):
            data, properties = preprocess(predictor, case)
            for _, condition, file in of_case:
                progress.set_postfix_str(f"{case.name}, {condition.description}")
                logits = predictor.predict_logits_from_preprocessed_data(condition.apply(data, channels))
                # an array: tensors go to other processes through shared memory, of which containers have little
                exports.add(export, logits.numpy(), properties, *about, file)
                progress.update()


def preprocess(predictor: nnUNetPredictor, case: ImageFiles) -> tuple[Tensor, dict[str, Any]]:
    """nnU-Net's preprocessing of a case for prediction: image (c, *), and what its export needs to know.

    Raises:
        UserError: If images cannot be read or do not share one grid.
    """
    case.read()  # nnU-Net's reader would give no reason
    configuration = predictor.configuration_manager
    data, _, properties = configuration.preprocessor_class(verbose=False).run_case(
        [str(file) for file in case.images], None, predictor.plans_manager, configuration, predictor.dataset_json
    )
    return torch.from_numpy(data).to(torch.float32, memory_format=torch.contiguous_format), properties


def export(logits, properties, configuration_manager, plans_manager, dataset_json, file: Path) -> None:
    """Write a prediction by nnU-Net's own export; the file is whole or not there."""
    with replacing(file) as temporary:
        truncated = str(temporary).removesuffix(dataset_json["file_ending"])
        export_prediction_from_logits(logits, properties, configuration_manager, plans_manager, dataset_json, truncated)


class _Exports:
    """Calls in other processes, watched as nnU-Net watches its own; leaving the block waits for them."""

    QUEUED = 2
    """Logits of a whole body are large: as in nnU-Net, so many wait and no more."""

    def __init__(self, num_processes: int):
        self._pool = None
        if num_processes > 1:  # Ctrl-C is the main process's alone, which ends the others
            context = multiprocessing.get_context("spawn")
            self._pool = context.Pool(num_processes, signal.signal, (signal.SIGINT, signal.SIG_IGN))
            self._workers = list(self._pool._pool)  # type: ignore[attr-defined]
        self._running: list[Any] = []

    def add(self, work: Callable[..., None], *arguments: Any) -> None:
        if self._pool is None:
            work(*arguments)
            return
        self._wait_until(lambda: not self._busy())
        self._running.append(self._pool.apply_async(work, arguments))

    def _busy(self) -> bool:
        try:
            return check_workers_alive_and_busy(self._pool, self._workers, self._running, self.QUEUED)
        except RuntimeError as error:
            raise UserError(
                "A process was killed, most likely for want of memory. Run the same command again with --c and fewer "
                "processes (-np)."
            ) from error

    def _wait_until(self, done: Callable[[], bool]) -> None:
        while not done():
            self._busy()
            time.sleep(0.05)
        for finished in [call for call in self._running if call.ready()]:
            finished.get()  # raises what was raised there
            self._running.remove(finished)

    def __enter__(self) -> "_Exports":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self._pool is not None:
                self._wait_until(lambda: all(call.ready() for call in self._running))
        finally:
            if self._pool is not None:
                self._pool.terminate()
