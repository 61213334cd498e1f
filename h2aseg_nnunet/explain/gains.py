"""TAMW's gains in numbers: by how much CT and PET features are raised in predicted tumour and lowered in background."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from h2aseg_nnunet.network.readings import DECODER, MODALITIES, TAMWReading

LEAST = 1e-6
"""Weight of a window without any tumour, or with nothing else: means exist where no window has any."""


class StageGains(NamedTuple):
    """Mean gains at one stage; 0.2 stands for 20 % more, -0.2 for 20 % less.

    Attributes:
        stage: 1 is full resolution.
        tumor, background: Change of features in predicted tumour and in background, by modality: w1 and -w0.
        decoder: Change of the coarser stage's features, everywhere: w1 - w0.
    """

    stage: int
    tumor: dict[str, float]
    background: dict[str, float]
    decoder: float


class GainTally:
    """Means over images or windows, which weigh by what they hold.

    A window with much tumour says more about the gain of tumour than one with little; the same for background.
    """

    def __init__(self) -> None:
        self._sums: dict[int, list[Tensor]] = {}

    def clear(self) -> None:
        self._sums.clear()

    def add(self, readings: Mapping[int, TAMWReading]) -> None:
        for stage, reading in readings.items():
            share = reading.tumor.flatten(1).mean(1)  # (b,)
            in_tumor, in_background = share + LEAST, 1 - share + LEAST
            weighted = [
                (in_tumor[:, None] * reading.w1).sum(0),
                (in_background[:, None] * reading.w0).sum(0),
                (reading.w1 - reading.w0).sum(0),
                torch.stack([in_tumor.sum(), in_background.sum(), torch.ones_like(in_tumor).sum()]),
            ]
            before = self._sums.get(stage, [0, 0, 0, 0])
            self._sums[stage] = [a + b for a, b in zip(before, weighted, strict=True)]

    def means(self) -> list[StageGains]:
        """From full resolution to the coarsest stage that has TAMW."""
        return [self._mean(stage, *self._sums[stage]) for stage in sorted(self._sums)]

    @staticmethod
    def _mean(stage: int, w1: Tensor, w0: Tensor, both: Tensor, weights: Tensor) -> StageGains:
        in_tumor, in_background, everywhere = weights.tolist()
        return StageGains(
            stage,
            tumor={name: w1[part].item() / in_tumor for name, part in MODALITIES.items()},
            background={name: -w0[part].item() / in_background for name, part in MODALITIES.items()},
            decoder=both[DECODER].item() / everywhere,
        )


def as_text(gains: StageGains) -> str:
    """One line: `stage 1: CT +12% in tumour, -3% in background; PET ...`."""
    parts = [
        f"{name} {gains.tumor[name]:+.1%} in tumour, {gains.background[name]:+.1%} in background" for name in MODALITIES
    ]
    return f"stage {gains.stage}: {'; '.join(parts)}"
