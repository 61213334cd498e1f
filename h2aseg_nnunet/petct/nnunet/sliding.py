"""nnU-Net's sliding window: further maps merged as it merges logits, and the window that holds a voxel best."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from torch import Tensor


class WindowMaps(Protocol):
    """What is to be merged beside the logits.

    Attributes:
        count: Number of maps.
    """

    count: int

    def restart(self) -> None:
        """Forget all windows: nnU-Net begins again where the memory of a GPU does not suffice for its sums."""

    def of_window(self, window: Tensor) -> Tensor:
        """Return the maps (1, count, *) of a window (1, c, *) that the network has just predicted."""


class MapMergingPredictor(nnUNetPredictor):
    """nnU-Net's predictor; `predict_with_maps` carries further channels through its windows, weights and padding.

    It is to be used without mirroring: the maps are those of the last forward pass of each window.
    """

    label_manager: Any
    _maps: WindowMaps | None = None

    def predict_with_maps(self, data: Tensor, maps: WindowMaps) -> tuple[Tensor, Tensor]:
        """Predict one preprocessed image.

        Args:
            data: The image (c, *).
            maps: What is to be merged beside the logits.

        Returns:
            Logits (num_classes, *), exactly nnU-Net's own, and the maps (count, *), in half precision.
        """
        label_manager, heads = self.label_manager, self.label_manager.num_segmentation_heads
        try:
            self._maps = maps
            self.label_manager = _Heads(heads + maps.count)  # nnU-Net allocates as many channels
            merged = self.predict_sliding_window_return_logits(data).cpu()
        finally:
            self.label_manager, self._maps = label_manager, None
        return merged[:heads], merged[heads:]

    def _internal_predict_sliding_window_return_logits(self, *args, **kwargs):
        if self._maps is not None:
            self._maps.restart()
        return super()._internal_predict_sliding_window_return_logits(*args, **kwargs)

    @torch.inference_mode()
    def _internal_maybe_mirror_and_predict(self, x: Tensor) -> Tensor:
        logits = super()._internal_maybe_mirror_and_predict(x)
        if self._maps is None:
            return logits
        return torch.cat([logits, self._maps.of_window(x).to(logits.dtype)], 1)


class _Heads(NamedTuple):
    """What nnU-Net's merging asks of a label manager."""

    num_segmentation_heads: int


class Window(NamedTuple):
    """One window of nnU-Net's sliding window over an image.

    Attributes:
        patch: The padded image within the window, (c, *).
        voxel: Index of the chosen voxel in the patch.
        padded_shape: Extents of the padded image.
        place: Where the window lies in the padded image; a 2D window names its slice by a number.
        image: Where the image lies in the padded image.
    """

    patch: Tensor
    voxel: tuple[int, ...]
    padded_shape: tuple[int, ...]
    place: tuple[slice | int, ...]
    image: tuple[slice, ...]

    def cut(self, volume: Tensor) -> Tensor:
        """Return the part of a volume (*) on the image that lies in the window; zero in the padding."""
        padded = volume.new_zeros(self.padded_shape)
        padded[self.image] = volume
        return padded[self.place]

    def paste(self, values: Tensor) -> Tensor:
        """Return values of the window on the image (*); zero outside the window."""
        padded = values.new_zeros(self.padded_shape)
        padded[self.place] = values
        return padded[self.image]


def window_around(predictor: nnUNetPredictor, data: Tensor, voxel: Sequence[int]) -> Window:
    """Find, of nnU-Net's windows that hold a voxel, the one with the voxel nearest to its center, where it counts most.

    Args:
        predictor: nnU-Net's predictor, with its patch size and step size.
        data: A preprocessed image (c, *).
        voxel: Index in the image.
    """
    patch_size = predictor.configuration_manager.patch_size
    padded, image = pad_nd_image(data, patch_size, "constant", {"value": 0}, True, None)
    in_padded = [v + part.start for v, part in zip(voxel, image[1:], strict=True)]
    windows = predictor._internal_get_sliding_window_slicers(padded.shape[1:])
    place = min((window[1:] for window in windows), key=lambda place: _distance_from_center(place, in_padded))
    in_patch = [v - part.start for v, part in zip(in_padded, place, strict=True) if isinstance(part, slice)]
    return Window(padded[(slice(None), *place)], tuple(in_patch), tuple(padded.shape[1:]), place, tuple(image[1:]))


def _distance_from_center(place: Sequence[slice | int], voxel: Sequence[int]) -> float:
    """Squared distance in windows, infinite outside."""
    distance = 0.0
    for part, v in zip(place, voxel, strict=True):
        if not isinstance(part, slice):
            distance += 0.0 if part == v else torch.inf
        elif part.start <= v < part.stop:
            distance += ((v + 0.5 - (part.start + part.stop) / 2) / (part.stop - part.start)) ** 2
        else:
            return torch.inf
    return distance
