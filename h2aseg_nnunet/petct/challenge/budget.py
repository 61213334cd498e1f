"""What to leave out where the time of a case does not suffice: mirroring first, then folds, the last first."""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from torch import Tensor

CAUTION = 1.2
"""Measured times are taken for so much longer."""


class Budget:
    """The time that is left of a limit.

    Args:
        seconds: The limit; None for no limit.
        started: When it began.
        clock: Tells the time in seconds.
    """

    def __init__(self, seconds: float | None, started: float, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._end = math.inf if seconds is None else started + seconds

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self._end < math.inf

    @property
    def left(self) -> float:
        """Seconds that are left; infinite without a limit."""
        return self._end - self._clock()


class Choice(NamedTuple):
    """What fits.

    Attributes:
        mirroring: Whether test-time augmentation does.
        folds: How many folds do, at least one.
    """

    mirroring: bool
    folds: int


def choose(seconds: float, plain_seconds: float, mirrors: int, folds: int) -> Choice:
    """Choose what fits into the time, in this order: all; no mirroring; fewer folds without it; one fold.

    Args:
        seconds: Time for predicting.
        plain_seconds: Time of one fold without mirroring.
        mirrors: How many times longer mirroring takes; 1 without it.
        folds: How many folds there are.
    """
    if CAUTION * plain_seconds * mirrors * folds <= seconds:
        return Choice(mirrors > 1, folds)
    fitting = int(seconds // (CAUTION * plain_seconds))
    return Choice(False, max(1, min(folds, fitting)))


def seconds_of_a_fold(predictor: nnUNetPredictor, data: Tensor) -> float:
    """Measure one window, and return what a fold takes without mirroring.

    Args:
        predictor: nnU-Net's predictor, with a network that has weights.
        data: The preprocessed image (c, *).
    """
    padded, _ = pad_nd_image(data, predictor.configuration_manager.patch_size, "constant", {"value": 0}, True, None)
    windows = list(predictor._internal_get_sliding_window_slicers(padded.shape[1:]))
    window = padded[windows[len(windows) // 2]][None].contiguous().to(predictor.device)
    network = predictor.network.to(predictor.device).eval()
    on_gpu = predictor.device.type == "cuda"
    with torch.inference_mode(), torch.autocast(predictor.device.type, enabled=on_gpu):
        network(window)  # the first one also sets things up
        began = time.monotonic()
        network(window).cpu()
    return (time.monotonic() - began) * len(windows)


@torch.inference_mode()
def predict_folds(predictor: nnUNetPredictor, data: Tensor, budget: Budget, reserve: float) -> tuple[Tensor, Choice]:
    """Predict as nnU-Net does, with what fits into the time.

    Args:
        predictor: nnU-Net's predictor with all folds; it is changed.
        data: The preprocessed image (c, *).
        budget: The time that is left.
        reserve: Seconds of it that the mask needs afterwards.

    Returns:
        Logits (classes, *), nnU-Net's own if everything fits, and what they were made with.
    """
    folds = predictor.list_of_parameters
    axes = predictor.allowed_mirroring_axes
    mirrors = 2 ** len(axes) if predictor.use_mirroring and axes else 1
    choice = Choice(mirrors > 1, len(folds))
    if budget.limited:
        plain_seconds = seconds_of_a_fold(predictor, data)
        choice = choose(budget.left - reserve, plain_seconds, mirrors, len(folds))
    predictor.use_mirroring = predictor.use_mirroring and choice.mirroring
    total: Tensor | None = None
    done = 0
    for weights in folds[: choice.folds]:
        began = budget.left
        predictor.list_of_parameters = [weights]
        logits = predictor.predict_logits_from_preprocessed_data(data)
        total = logits if total is None else total.add_(logits)
        done += 1
        if budget.left - reserve < CAUTION * (began - budget.left):
            break  # it took longer than was measured
    assert total is not None
    if done > 1:
        total /= done  # as nnU-Net averages, in its precision
    return total, choice._replace(folds=done)
