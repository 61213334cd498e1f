"""What the decoder did, on the whole image: maps merged as nnU-Net merges logits, and means over all windows."""

from typing import NamedTuple

import torch
from torch import Tensor

from h2aseg_nnunet.explain.model import Model
from h2aseg_nnunet.network.decoder import tumor_probability
from h2aseg_nnunet.network.h2aseg import H2ASeg
from h2aseg_nnunet.network.readings import MODALITIES, DecoderReadings, GainTally, StageGains, reading_decoder
from h2aseg_nnunet.network.resize import resize

EPSILON = 1e-6
"""Probabilities closer to 0 or 1 than this are cut off, for their log-odds leave the range of half precision."""

LOG_ODDS_UNITS, SCALE_UNITS = 10, 100
"""Units in which maps are merged. nnU-Net weighs and sums windows in half precision: where an image's corner is covered
by a window's corner only, the weight is half precision's smallest number, and products with it are whole multiples."""


class Maps(NamedTuple):
    """Maps of a whole image on nnU-Net's preprocessed grid, each (*).

    Attributes:
        logits: (num_classes, *), exactly nnU-Net's own prediction.
        log_odds: Log-odds of tumor, by stage, for every stage but the first, whose are in `logits`.
        scales: Mean factor by which TAMW scales features, by stage and modality; empty without TAMW.
        gains: Means over all windows; empty without TAMW.
    """

    logits: Tensor
    log_odds: dict[int, Tensor]
    scales: dict[tuple[int, str], Tensor]
    gains: list[StageGains]


def predict_maps(model: Model, data: Tensor) -> Maps:
    """Predict one preprocessed image (c, *) and keep what the decoder did."""
    with reading_decoder(model.network) as readings:
        maps = DecoderMaps(model.network, readings)
        logits, merged = model.predictor.predict_with_maps(data, maps)
    log_odds, scales = merged.float().split([len(maps.coarse_stages), len(maps.scaled)])
    return Maps(
        logits,
        dict(zip(maps.coarse_stages, log_odds / LOG_ODDS_UNITS, strict=True)),
        dict(zip(maps.scaled, 1 + scales / SCALE_UNITS, strict=True)),
        maps.tally.means(),
    )


class DecoderMaps:
    """Maps of one window after another, for `MapMergingPredictor`.

    Args:
        network: The network that predicts the windows.
        readings: Its latest forward pass, from `reading_decoder`.

    Attributes:
        coarse_stages: Stages whose log-odds are mapped: all but the first.
        scaled: Stages and modalities whose scale is mapped.
        tally: Gains of the windows so far.
    """

    def __init__(self, network: H2ASeg, readings: DecoderReadings):
        stages = range(1, len(network.decoder.seg_layers) + 1)
        self.coarse_stages = stages[1:]
        weighted = stages[:-1] if network.decoder.has_tamw else ()
        self.scaled = [(stage, modality) for stage in weighted for modality in MODALITIES]
        self.count = len(self.coarse_stages) + len(self.scaled)
        self.tally = GainTally()
        self._has_regions = network.decoder.seg_layers.has_regions
        self._readings = readings

    def restart(self) -> None:
        """Forget all windows."""
        self.tally.clear()

    def of_window(self, window: Tensor) -> Tensor:
        """Return (1, count, *): log-odds of the coarse stages, then scales less 1, in the units of merging."""
        size, (logits, tamw) = window.shape[2:], self._readings
        self.tally.add(tamw)
        log_odds = [
            tumor_probability(logits[stage], size, self._has_regions).logit(EPSILON) for stage in self.coarse_stages
        ]
        changes = [resize(tamw[stage].scale(MODALITIES[modality]) - 1, size) for stage, modality in self.scaled]
        return torch.cat([LOG_ODDS_UNITS * each for each in log_odds] + [SCALE_UNITS * each for each in changes], 1)
