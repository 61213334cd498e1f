"""Forward hooks that read what the decoder does. The network itself knows nothing of them and costs nothing more."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from h2aseg_nnunet.modalities import CT, PET
from h2aseg_nnunet.network.h2aseg import H2ASeg
from h2aseg_nnunet.network.tamw import TAMW, GatedTAMW

MODALITIES = {"CT": CT, "PET": PET}
DECODER = 2
"""TAMW weighs three kinds of features, in this order: CT, PET, and the coarser stage's."""

LEAST_SHARE = 1e-6
"""Minimum weight of a window, so that the weighted mean is defined even if no window contains tumor (or background)."""


class TAMWReading(NamedTuple):
    """What TAMW did at one stage: gains averaged over the channels of CT, PET and decoder features.

    Attributes:
        tumor: (b, 1, *), the coarser stage's tumor probability p1, at this stage's resolution.
        w1, w0: (b, 3), gains of tumor and of background. CT and PET features are scaled by
            1 + w1 where p1 is 1 and by 1 - w0 where it is 0, decoder features by 1 + w1 - w0 everywhere.
    """

    tumor: Tensor
    w1: Tensor
    w0: Tensor

    def scale(self, modality: int) -> Tensor:
        """Return (b, 1, *): the mean factor 1 - w0 + (w1 + w0) p1 by which features of CT or PET are scaled."""
        shape = (-1, *[1] * (self.tumor.ndim - 1))
        w1, w0 = self.w1[:, modality].reshape(shape), self.w0[:, modality].reshape(shape)
        return 1 - w0 + (w1 + w0) * self.tumor


class DecoderReadings(NamedTuple):
    """The latest forward pass, by stage: 1 is full resolution, as in README.

    Attributes:
        logits: (b, num_classes, *) of every stage.
        tamw: What TAMW did at every stage but the deepest, which has none; empty if the network was built without.
    """

    logits: dict[int, Tensor]
    tamw: dict[int, TAMWReading]


class StageGains(NamedTuple):
    """Mean gains at one stage; 0.2 stands for 20 % more, -0.2 for 20 % less.

    Attributes:
        stage: 1 is full resolution.
        tumor, background: Change of features in predicted tumor and in background, by modality: w1 and -w0.
        decoder: Change of the coarser stage's features, everywhere: w1 - w0.
    """

    stage: int
    tumor: dict[str, float]
    background: dict[str, float]
    decoder: float


class GainTally:
    """Means over images or windows, which weigh by what they hold.

    A window with much tumor says more about the gain of tumor than one with little; the same for background.
    """

    def __init__(self) -> None:
        self._sums: dict[int, list[Tensor]] = {}

    def clear(self) -> None:
        """Forget what was added."""
        self._sums.clear()

    def add(self, readings: Mapping[int, TAMWReading]) -> None:
        """Add the images or windows of one forward pass, by stage."""
        for stage, reading in readings.items():
            share = reading.tumor.flatten(1).mean(1)  # (b,)
            in_tumor, in_background = share + LEAST_SHARE, 1 - share + LEAST_SHARE
            weighted = [
                (in_tumor[:, None] * reading.w1).sum(0),
                (in_background[:, None] * reading.w0).sum(0),
                (reading.w1 - reading.w0).sum(0),
                torch.stack([in_tumor.sum(), in_background.sum(), torch.ones_like(in_tumor).sum()]),
            ]
            before = self._sums.get(stage)
            self._sums[stage] = [a + b for a, b in zip(before, weighted, strict=True)] if before else weighted

    def means(self) -> list[StageGains]:
        """Return the means from full resolution to the coarsest stage that has TAMW."""
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


@contextmanager
def reading_decoder(network: nn.Module) -> Iterator[DecoderReadings]:
    """Fill `DecoderReadings` at every forward pass within the block; no hook is left behind, whatever happens.

    Args:
        network: H2ASeg, also as wrapped by torch.compile or DistributedDataParallel: the wrapped network's own
            forward passes are read, not those of compiled code.
    """
    decoder = unwrap(network).decoder
    readings = DecoderReadings({}, {})
    with ExitStack() as hooks:
        for stage, module in _from_deepest(decoder.stages):
            if isinstance(module.tamw, TAMW | GatedTAMW):
                hooks.enter_context(module.tamw.register_forward_hook(_keep_tamw(readings, stage), with_kwargs=True))
        for stage, module in _from_deepest(decoder.seg_layers):
            hooks.enter_context(module.register_forward_hook(_keep_logits(readings, stage)))
        yield readings


def unwrap(network: nn.Module) -> H2ASeg:
    """Return the network as it was built, without the wrappers of DistributedDataParallel and torch.compile.

    Raises:
        ValueError: If it is not an H2ASeg.
    """
    network = getattr(network, "module", network)
    network = getattr(network, "_orig_mod", network)
    if not isinstance(network, H2ASeg):
        raise ValueError(f"{type(network).__name__} is not an H2ASeg network.")
    return network


def _from_deepest(modules: Any) -> Iterator[tuple[int, nn.Module]]:
    """Number modules that are ordered deepest first by stage, 1 for full resolution."""
    yield from zip(range(len(modules), 0, -1), modules, strict=True)


def _keep_tamw(readings: DecoderReadings, stage: int) -> Callable[..., None]:
    def hook(tamw: TAMW | GatedTAMW, args: tuple, features: dict[str, Tensor], output: Tensor) -> None:
        tumor = features["tumor"].to(features["ct"].dtype)
        w1, w0 = tamw.gains(**features | {"tumor": tumor})
        w1, w0 = (torch.stack([part.mean(1) for part in gains.split(tamw.parts, dim=1)], 1) for gains in (w1, w0))
        readings.tamw[stage] = TAMWReading(tumor.float().detach(), w1.float().detach(), w0.float().detach())

    return hook


def _keep_logits(readings: DecoderReadings, stage: int) -> Callable[..., None]:
    def hook(head: nn.Module, args: tuple, output: Tensor) -> None:
        readings.logits[stage] = output.float().detach()

    return hook
