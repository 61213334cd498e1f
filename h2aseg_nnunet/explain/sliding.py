"""nnU-Net's own sliding-window prediction, which merges maps of the decoder as it merges logits."""

from typing import NamedTuple

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from torch import Tensor

from h2aseg_nnunet.explain.gains import GainTally, StageGains
from h2aseg_nnunet.network.blocks import resize
from h2aseg_nnunet.network.decoder import tumor_probability
from h2aseg_nnunet.network.readings import MODALITIES, DecoderReadings, reading_decoder

EPSILON = 1e-6
"""Probabilities closer to 0 or 1 than this are cut off, for their log-odds leave the range of half precision."""

LOG_ODDS_UNITS, SCALE_UNITS = 10, 100
"""Units in which maps are merged. nnU-Net weighs and sums windows in half precision: where an image's corner is covered
by a window's corner only, the weight is half precision's smallest number, and products with it are whole multiples."""


class Maps(NamedTuple):
    """Maps of a whole image on nnU-Net's preprocessed grid, each (*).

    Attributes:
        logits: (num_classes, *), exactly nnU-Net's own prediction.
        log_odds: Of tumour, by stage, for every stage but the first, whose are in `logits`.
        scales: Mean factor by which TAMW scales features, by stage and modality; empty without TAMW.
        gains: Means over all windows; empty without TAMW.
    """

    logits: Tensor
    log_odds: dict[int, Tensor]
    scales: dict[tuple[int, str], Tensor]
    gains: list[StageGains]


class _Heads(NamedTuple):
    """What nnU-Net's merging asks of a label manager."""

    num_segmentation_heads: int


class ExplainingPredictor(nnUNetPredictor):
    """nnU-Net's predictor; `predict_maps` carries further channels through its windows, Gaussian weights and padding.

    Mirroring is for predictions only: gains of a mirrored image are not those of the image.
    """

    _readings: DecoderReadings | None = None

    def predict_maps(self, data: Tensor) -> Maps:
        """Predict one preprocessed image (c, *) and keep what the decoder did."""
        label_manager, self._tally = self.label_manager, GainTally()
        stages = range(1, len(self.network.decoder.seg_layers) + 1)
        weighted = stages[:-1] if self.network.decoder.has_tamw else ()
        names = [(stage, modality) for stage in weighted for modality in MODALITIES]
        heads = label_manager.num_segmentation_heads
        try:
            with reading_decoder(self.network) as self._readings:
                self.label_manager = _Heads(heads + len(stages[1:]) + len(names))
                merged = self.predict_sliding_window_return_logits(data).cpu()
        finally:
            self.label_manager, self._readings = label_manager, None
        logits, log_odds, scales = merged.split([heads, len(stages[1:]), len(names)])
        return Maps(
            logits,
            dict(zip(stages[1:], log_odds.float() / LOG_ODDS_UNITS, strict=True)),
            dict(zip(names, 1 + scales.float() / SCALE_UNITS, strict=True)),
            self._tally.means(),
        )

    def _internal_predict_sliding_window_return_logits(self, *args, **kwargs):
        if self._readings is not None:
            self._tally.clear()  # nnU-Net starts again, with its sums in main memory, where the GPU's does not suffice
        return super()._internal_predict_sliding_window_return_logits(*args, **kwargs)

    @torch.inference_mode()
    def _internal_maybe_mirror_and_predict(self, x: Tensor) -> Tensor:
        logits = super()._internal_maybe_mirror_and_predict(x)
        if self._readings is None:
            return logits
        self._tally.add(self._readings.tamw)
        return torch.cat([logits, *(each.to(logits.dtype) for each in self._window_maps(x))], 1)

    def _window_maps(self, x: Tensor) -> list[Tensor]:
        """(1, 1, *) each: log-odds of stages 2, 3, ..., then scales less 1 of stages 1, 2, ..., CT before PET."""
        assert self._readings is not None
        size, regions = x.shape[2:], self.network.decoder.seg_layers.has_regions
        logits, tamw = self._readings
        log_odds = [tumor_probability(logits[stage], size, regions).logit(EPSILON) for stage in sorted(logits)[1:]]
        changes = [resize(tamw[stage].scale(part) - 1, size) for stage in sorted(tamw) for part in MODALITIES.values()]
        return [LOG_ODDS_UNITS * each for each in log_odds] + [SCALE_UNITS * each for each in changes]
