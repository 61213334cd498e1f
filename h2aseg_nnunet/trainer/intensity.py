"""Augmentation of SUV: nnU-Net's transforms see what the network's layers see."""

from collections.abc import Sequence
from typing import Any

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform, ImageOnlyTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from torch import Tensor


class CompressTransform(ImageOnlyTransform):
    """Turns SUV x of some channels into arcsinh(x / scale), as the network's first operation does; or back.

    Args:
        channels: Channels that hold SUV.
        scale: The network's scale.
        back: Whether to turn arcsinh(x / scale) into x.
    """

    def __init__(self, channels: Sequence[int], scale: float, back: bool = False):
        super().__init__()
        self.channels = list(channels)
        self.scale = scale
        self.back = back

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        return {}

    def _apply_to_image(self, image: Tensor, **params: Any) -> Tensor:
        changed = image.clone()
        suv = image[self.channels]
        changed[self.channels] = torch.sinh(suv) * self.scale if self.back else torch.asinh(suv / self.scale)
        return changed


def compress_for(compose: BasicTransform, channels: Sequence[int], scale: float) -> BasicTransform:
    """Let nnU-Net's random transforms of intensity work on arcsinh(SUV / scale) instead of SUV.

    They are made for normalized images. Noise of a fixed deviation would drown muscle at SUV 0.5 and vanish in a
    bladder at 40, and gamma and contrast, which refer to an image's range and mean, would be ruled by that bladder. On
    the compressed scale background is near 0.5, lesions reach from 1 to 4, and noise grows with uptake as PET's does.
    Afterwards channels are SUV again: the network is given in training what it is given in prediction. Geometry, and
    what comes after the random transforms, such as mirroring, stay where they are.
    """
    random = [number for number, each in enumerate(compose.transforms) if isinstance(each, RandomTransform)]
    if channels and random:
        compose.transforms.insert(random[-1] + 1, CompressTransform(channels, scale, back=True))
        compose.transforms.insert(random[0], CompressTransform(channels, scale))
    return compose
