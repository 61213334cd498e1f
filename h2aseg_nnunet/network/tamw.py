"""TAMW: weigh CT, PET and decoder features by what the coarser prediction calls tumour and background."""

import torch
from torch import Tensor, nn


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

    The release builds three weighted copies of all features and adds them. Collected by feature this is
    ct * (1 + w1 p1 - w0 p0), the same for PET, and decoder * (1 + w1 - w0), with w1 and w0 the gains of tumour and
    background: the same numbers without a masked copy of any map.

    Pooling runs in float32 under autocast: a sum over a million voxels leaves float16's range.

    Args:
        skip_channels: Features c_l of each stream at this stage.
        decoder_channels: Features 2 c_(l+1) of the coarser decoder stage.

    Shape:
        ct, pet: (b, c_l, *); decoder: (b, 2 c_(l+1), *), already up-sampled; tumor, background: (b, 1, *)
        probabilities of the coarser stage, already up-sampled. Output: (b, 2 c_l + 2 c_(l+1), *), CT, PET, decoder.

    Reference:
        Lu et al., H2ASeg, arXiv:2403.18339.
    """

    def __init__(self, skip_channels: int, decoder_channels: int):
        super().__init__()
        self.parts = (skip_channels, skip_channels, decoder_channels)
        self.tumor_gains = ChannelGains(sum(self.parts))
        self.background_gains = ChannelGains(sum(self.parts))

    def forward(self, ct: Tensor, pet: Tensor, decoder: Tensor, tumor: Tensor, background: Tensor) -> Tensor:
        with torch.autocast(ct.device.type, enabled=False):
            decoder_mean = _weighted_mean(decoder)
            pooled_tumor = [_weighted_mean(ct, tumor), _weighted_mean(pet, tumor), decoder_mean]
            pooled_background = [_weighted_mean(ct, background), _weighted_mean(pet, background), decoder_mean]
            w1 = self._split(self.tumor_gains(torch.cat(pooled_tumor, 1)), like=ct)
            w0 = self._split(self.background_gains(torch.cat(pooled_background, 1)), like=ct)
        tumor, background = tumor.to(ct.dtype), background.to(ct.dtype)
        return torch.cat(
            [
                ct * (1 + w1[0] * tumor - w0[0] * background),
                pet * (1 + w1[1] * tumor - w0[1] * background),
                decoder * (1 + w1[2] - w0[2]),
            ],
            dim=1,
        )

    def _split(self, gains: Tensor, like: Tensor) -> tuple[Tensor, ...]:
        """(b, channels) -> gains of CT, PET and decoder features, ready to be multiplied with maps."""
        return gains.to(like.dtype).reshape(*gains.shape, *[1] * (like.ndim - 2)).split(self.parts, dim=1)


def _weighted_mean(features: Tensor, probability: Tensor | None = None) -> Tensor:
    """(b, c, *) -> (b, c): mean over all positions, weighted by a probability map (b, 1, *) if there is one."""
    features = features.flatten(2)
    features = features.float() if features.dtype in (torch.float16, torch.bfloat16) else features
    if probability is None:
        return features.mean(-1)
    weights = probability.flatten(2).to(features.dtype) / features.shape[-1]
    return torch.bmm(features, weights.transpose(1, 2)).squeeze(-1)
