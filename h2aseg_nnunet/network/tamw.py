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
    background. With p0 = 1 - p1 one map is enough: ct * (1 - w0 + (w1 + w0) p1), and ct pooled over background is its
    mean less that over the tumour. The same numbers without a weighted copy of any map.

    Pooling runs in float32 under autocast: a sum over a million voxels leaves float16's range.

    Args:
        skip_channels: Features c_l of each stream at this stage.
        decoder_channels: Features 2 c_(l+1) of the coarser decoder stage.

    Shape:
        ct, pet: (b, c_l, *); decoder: (b, 2 c_(l+1), *), already up-sampled; tumor: (b, 1, *), the
        coarser stage's tumour probability p1, already up-sampled. Output: (b, 2 c_l + 2 c_(l+1), *), CT, PET, decoder.

    Reference:
        Lu et al., H2ASeg, arXiv:2403.18339.
    """

    def __init__(self, skip_channels: int, decoder_channels: int):
        super().__init__()
        self.parts = (skip_channels, skip_channels, decoder_channels)
        self.tumor_gains = ChannelGains(sum(self.parts))
        self.background_gains = ChannelGains(sum(self.parts))

    def forward(self, ct: Tensor, pet: Tensor, decoder: Tensor, tumor: Tensor) -> Tensor:
        w1, w0 = self.gains(ct=ct, pet=pet, decoder=decoder, tumor=tumor)
        w1, w0 = self._split(w1, like=ct), self._split(w0, like=ct)
        tumor = tumor.to(ct.dtype)
        return torch.cat(
            [
                ct * torch.addcmul(1 - w0[0], w1[0] + w0[0], tumor),
                pet * torch.addcmul(1 - w0[1], w1[1] + w0[1], tumor),
                decoder * (1 + w1[2] - w0[2]),
            ],
            dim=1,
        )

    def gains(self, ct: Tensor, pet: Tensor, decoder: Tensor, tumor: Tensor) -> tuple[Tensor, Tensor]:
        """Gains w1 of tumour and w0 of background, (b, channels) each, channels in the order CT, PET, decoder."""
        with torch.autocast(ct.device.type, enabled=False):
            whole = [_mean(features) for features in (ct, pet, decoder)]
            in_tumor = [_mean(ct, tumor), _mean(pet, tumor), whole[2]]
            in_background = [whole[0] - in_tumor[0], whole[1] - in_tumor[1], whole[2]]
            return self.tumor_gains(torch.cat(in_tumor, 1)), self.background_gains(torch.cat(in_background, 1))

    def _split(self, gains: Tensor, like: Tensor) -> tuple[Tensor, ...]:
        """(b, channels) -> gains of CT, PET and decoder features, ready to be multiplied with maps."""
        return gains.to(like.dtype).reshape(*gains.shape, *[1] * (like.ndim - 2)).split(self.parts, dim=1)


def _mean(features: Tensor, probability: Tensor | None = None) -> Tensor:
    """(b, c, *) -> (b, c): mean over all positions, weighted by a probability map (b, 1, *) if there is one."""
    features = features.flatten(2)
    features = features.float() if features.dtype in (torch.float16, torch.bfloat16) else features
    if probability is None:
        return features.mean(-1)
    weights = probability.flatten(2).to(features.dtype) / features.shape[-1]
    return torch.bmm(features, weights.transpose(1, 2)).squeeze(-1)
