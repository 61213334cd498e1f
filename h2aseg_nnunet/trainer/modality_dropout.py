"""A modality that is missing or broken, as augmentation: the network learns to do with the other one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform, ImageOnlyTransform
from torch import Tensor

from h2aseg_nnunet.trainer.h2aseg_trainer import nnUNetTrainerH2ASeg


class ModalityDropoutTransform(ImageOnlyTransform):
    """Replaces every channel of one modality by the channel's mean, as `h2aseg explain` does for its attribution.

    Args:
        modalities: Channels of each.
        probabilities: Of each modality to be replaced, at most 1 in all; at most one is replaced.
    """

    def __init__(self, modalities: Sequence[Sequence[int]], probabilities: Sequence[float]):
        super().__init__()
        self.modalities = [list(channels) for channels in modalities]
        self.probabilities = list(probabilities)

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        chosen = np.searchsorted(np.cumsum(self.probabilities), np.random.uniform(), side="right")
        return {"channels": [*self.modalities, []][chosen]}

    def _apply_to_image(self, image: Tensor, **params: Any) -> Tensor:
        replaced = image.clone()
        for channel in params["channels"]:
            replaced[channel] = image[channel].mean()
        return replaced


class nnUNetTrainerH2ASeg_modalitydropout(nnUNetTrainerH2ASeg):
    """In a tenth of the samples there is no CT, in another tenth no PET. Validation sees both."""

    p_no_ct = 0.1
    p_no_pet = 0.1

    def get_training_transforms(self, *args, **kwargs) -> BasicTransform:
        """nnU-Net's, then the dropout: noise and contrast would change a mean again."""
        compose = super().get_training_transforms(*args, **kwargs)
        compose.transforms.append(ModalityDropoutTransform(self.modality_channels(), (self.p_no_ct, self.p_no_pet)))
        return compose
