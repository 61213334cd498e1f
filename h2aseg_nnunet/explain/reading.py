"""Attention on a whole image: the window that holds the voxel best, as nnU-Net's sliding window lays it."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from torch import Tensor

from h2aseg_nnunet.explain.attention import AttentionMap, read_attention
from h2aseg_nnunet.explain.model import Model


class Reading(NamedTuple):
    """What the chosen voxel reads in one attention.

    Attributes:
        attention: On the window.
        volume: Its weights (*) on the preprocessed image, 0 outside the window.
        share_in_tumor: Share of the weights that lies in predicted tumour.
        tumor_share: Share of tumour in what could be read: `share_in_tumor` without preference.
    """

    attention: AttentionMap
    volume: Tensor
    share_in_tumor: float
    tumor_share: float


def read_voxel(model: Model, data: Tensor, tumor: Tensor, voxel: Sequence[int]) -> list[Reading]:
    """Attention of one voxel at all stages.

    Args:
        model: From `load_model`.
        data: (c, *), preprocessed.
        tumor: (*), predicted tumour on the same grid.
        voxel: Index on that grid.
    """
    predictor = model.predictor
    patch_size = predictor.configuration_manager.patch_size
    padded, inner = pad_nd_image(data, patch_size, "constant", {"value": 0}, True, None)
    padding = [part.start for part in inner[1:]]
    window = _nearest_window(
        predictor._internal_get_sliding_window_slicers(padded.shape[1:]),
        [v + before for v, before in zip(voxel, padding, strict=True)],
    )
    in_window = [v + before - start for v, before, start in zip(voxel, padding, _starts(window), strict=True)]
    maps = read_attention(model.network, padded[window][None].to(predictor.device), in_window[-len(patch_size) :])
    padded_tumor = torch.zeros(padded.shape[1:], dtype=torch.bool)
    padded_tumor[inner[1:]] = tumor
    return [_on_image(map_, window[1:], inner[1:], padded_tumor) for map_ in maps]


def _on_image(map_: AttentionMap, window: tuple, inner: tuple, tumor: Tensor) -> Reading:
    volume, in_window = torch.zeros(tumor.shape), tumor[window]
    volume[window] = map_.weights
    return Reading(map_, volume[inner], map_.share_in(in_window), map_.readable_share_of(in_window))


def _starts(window: tuple) -> list[int]:
    """First index along every axis; 2D windows name the slice itself."""
    return [part.start if isinstance(part, slice) else part for part in window[1:]]


def _nearest_window(windows: Sequence[tuple], voxel: Sequence[int]) -> tuple:
    """Of nnU-Net's windows that hold a voxel, the one with the voxel nearest to its centre, where it counts most."""

    def off_centre(window: tuple) -> float:
        distance = 0.0
        for part, v in zip(window[1:], voxel, strict=True):
            if not isinstance(part, slice):
                distance += 0 if part == v else torch.inf
            elif part.start <= v < part.stop:
                distance += ((v + 0.5 - (part.start + part.stop) / 2) / (part.stop - part.start)) ** 2
            else:
                distance = torch.inf
        return distance

    return min(windows, key=off_centre)
