"""TAMW: weigh CT, PET and decoder features by what the coarser prediction calls tumor and background."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from h2aseg_nnunet.network.norm import exact_dtype
from h2aseg_nnunet.network.resize import resize


class ChannelGains(nn.Module):
    """Pooled features -> one gain in (-1, 1) per channel, through a bottleneck of a quarter of the channels.

    Shape:
        pooled and output: (b, channels).
    """

    def __init__(self, channels: int):
        super().__init__()
        self.fc1 = nn.Linear(channels, channels // 4)
        self.fc2 = nn.Linear(channels // 4, channels)

    def forward(self, pooled: Tensor) -> Tensor:
        return self.fc2(self.fc1(pooled).tanh()).tanh()


class TAMW(nn.Module):
    """Target-Aware Modality Weighting in closed form.

    The release builds three weighted copies of all features and adds them. The same numbers come from less:
    - Collected by feature, the sum is ct * (1 + w1 p1 - w0 p0), the same for PET, and decoder * (1 + w1 - w0), with
      w1 and w0 the gains of tumor and background. No weighted copy of any map is needed.
    - With p0 = 1 - p1 one map is enough: ct * (1 - w0 + (w1 + w0) p1), and ct pooled over background is its mean
      less that over the tumor.
    - Interpolation is linear: the coarser decoder's features are weighted and averaged at their own resolution.

    Pooling adds up in float32 under autocast: a sum over a million voxels leaves float16's range.

    The instance norm that follows in the decoder's block divides out what scales a whole map: only the difference
    between tumor and background counts, and w1 and w0 of the decoder's features only where 1 + w1 - w0 is negative.

    Args:
        skip_channels: Features c_l of each stream at this stage.
        decoder_channels: Features 2 c_(l+1) of the coarser decoder stage.

    Shape:
        ct, pet: (b, c_l, *); decoder: (b, 2 c_(l+1), *) at the coarser resolution; tumor: (b, 1, *), the coarser
        stage's tumor probability p1, up-sampled. Output: (b, 2 c_l + 2 c_(l+1), *), CT, PET, decoder.

    Reference:
        Lu et al., H2ASeg, arXiv:2403.18339.
    """

    def __init__(self, skip_channels: int, decoder_channels: int):
        super().__init__()
        self.parts = (skip_channels, skip_channels, decoder_channels)
        self.tumor_gains = ChannelGains(sum(self.parts))
        self.background_gains = ChannelGains(sum(self.parts))

    def forward(self, ct: Tensor, pet: Tensor, decoder: Tensor, tumor: Tensor) -> Tensor:
        tumor = tumor.to(ct.dtype)
        tumor_gains, background_gains = self.gains(ct=ct, pet=pet, decoder=decoder, tumor=tumor)
        ct_w1, pet_w1, decoder_w1 = self._split(tumor_gains, like=ct)
        ct_w0, pet_w0, decoder_w0 = self._split(background_gains, like=ct)
        ct = ct * torch.addcmul(1 - ct_w0, ct_w1 + ct_w0, tumor)  # 1 - w0 + (w1 + w0) p1
        pet = pet * torch.addcmul(1 - pet_w0, pet_w1 + pet_w0, tumor)
        decoder = resize(decoder * (1 + decoder_w1 - decoder_w0), ct.shape[2:])
        return torch.cat([ct, pet, decoder], dim=1)

    def gains(self, ct: Tensor, pet: Tensor, decoder: Tensor, tumor: Tensor) -> tuple[Tensor, Tensor]:
        """Gains w1 of tumor and w0 of background, (b, channels) each, channels in the order CT, PET, decoder."""
        with torch.autocast(ct.device.type, enabled=False):
            ct_mean, pet_mean, decoder_mean = _mean(ct), _mean(pet), _mean_of_resized(decoder, ct.shape[2:])
            ct_in_tumor, pet_in_tumor = _mean(ct * tumor), _mean(pet * tumor)
            in_tumor = torch.cat([ct_in_tumor, pet_in_tumor, decoder_mean], 1)
            in_background = torch.cat([ct_mean - ct_in_tumor, pet_mean - pet_in_tumor, decoder_mean], 1)
            return self.tumor_gains(in_tumor), self.background_gains(in_background)

    def _split(self, gains: Tensor, like: Tensor) -> tuple[Tensor, ...]:
        """(b, channels) -> gains of CT, PET and decoder features, ready to be multiplied with maps."""
        return gains.to(like.dtype).reshape(*gains.shape, *[1] * (like.ndim - 2)).split(self.parts, dim=1)


def _mean(features: Tensor) -> Tensor:
    """(b, c, *) -> (b, c): mean over all positions, added up and returned in float32 at least."""
    return features.flatten(2).mean(-1, dtype=exact_dtype(features))


def _mean_of_resized(features: Tensor, size: Sequence[int]) -> Tensor:
    """(b, c, *) -> (b, c): mean over all positions of `resize(features, size)`, which is not computed.

    Along each axis, the mean of an interpolation is a weighted mean of what is interpolated.
    """
    means = features.to(exact_dtype(features))
    for extent, resized in zip(reversed(features.shape[2:]), reversed(size), strict=True):
        positions = torch.eye(extent, dtype=means.dtype, device=means.device).unsqueeze(0)
        weights = F.interpolate(positions, size=resized, mode="linear", align_corners=True).mean(-1).squeeze(0)
        means = means @ weights
    return means
