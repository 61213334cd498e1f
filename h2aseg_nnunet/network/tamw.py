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
        return per_voxel(gains, like).split(self.parts, dim=1)


class GatedTAMW(nn.Module):
    """TAMW that starts as the plain decoder, reads the patient, and leaves the coarser prediction alone.

    With p the coarser stage's tumor probability and m means over what p calls tumor and background:

        ct (1 + g_ct p), pet (1 + g_pet p), decoder (1 + g_decoder p) + s p
        g = tanh(a), (a, s) = W2 tanh(W1 [m_tumor, m_background])

    What differs from the release, and why:
    - Background is left as it is. In the release a feature may be dimmed in the tumor and raised everywhere else, which
      loses tumors that the coarser stage has missed. Factors are positive.
    - Means are divided by the tumor's share. The release's are over all voxels: of a small tumor nothing is left.
    - The decoder gets p itself, times s, and not only products with it.
    - No gradient reaches the coarser head through p: it learns to predict, and not to gate. Without deep supervision,
      where that head has no loss of its own, the gradient passes (Decoder).
    - W2 starts at zero: so do g and s.

    Decoder features are weighed at their own resolution, before they are up-sampled.

    Args:
        skip_channels, decoder_channels: As in TAMW.

    Shape:
        ct, pet, decoder, tumor and the output: as in TAMW; coarse_tumor: (b, 1, *), p at the decoder's resolution.
    """

    def __init__(self, skip_channels: int, decoder_channels: int):
        super().__init__()
        self.parts = (skip_channels, skip_channels, decoder_channels)
        channels = sum(self.parts)
        self.fc1 = nn.Linear(2 * channels, channels // 4)
        self.fc2 = nn.Linear(channels // 4, channels + decoder_channels)
        nn.init.zeros_(self.fc2.weight)
        nn.init.zeros_(self.fc2.bias)

    def forward(self, ct: Tensor, pet: Tensor, decoder: Tensor, tumor: Tensor, coarse_tumor: Tensor) -> Tensor:
        tumor, coarse_tumor = tumor.to(ct.dtype), coarse_tumor.to(decoder.dtype)
        with torch.autocast(ct.device.type, enabled=False):
            gains, shift = self.gains_and_shift(self.means(ct, pet, decoder, tumor, coarse_tumor))
        ct_gain, pet_gain, decoder_gain = per_voxel(gains, like=ct).split(self.parts, dim=1)
        decoder = self.weigh_decoder(decoder, coarse_tumor, decoder_gain, per_voxel(shift, like=decoder))
        return torch.cat([ct * (1 + ct_gain * tumor), pet * (1 + pet_gain * tumor), resize(decoder, ct.shape[2:])], 1)

    @staticmethod
    def means(ct: Tensor, pet: Tensor, decoder: Tensor, tumor: Tensor, coarse_tumor: Tensor) -> Tensor:
        """Means over tumor and background, (b, 2, channels), channels in the order CT, PET, decoder."""
        pairs = (ct, tumor), (pet, tumor), (decoder, coarse_tumor)
        return torch.cat([means_by_share(features, p) for features, p in pairs], 2)

    def gains_and_shift(self, means: Tensor) -> tuple[Tensor, Tensor]:
        """(b, 2, channels), means over tumor and background -> g (b, channels) and s (b, decoder_channels)."""
        outputs = self.fc2(self.fc1(means.flatten(1)).tanh())
        gains, shift = outputs.split((sum(self.parts), self.parts[2]), dim=1)
        return gains.tanh(), shift

    @staticmethod
    def weigh_decoder(decoder: Tensor, coarse_tumor: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
        """Return decoder (1 + gain p) + shift p; gain and shift have the shape of `per_voxel`."""
        return torch.addcmul(decoder, torch.addcmul(shift, decoder, gain), coarse_tumor)

    def gains(
        self, ct: Tensor, pet: Tensor, decoder: Tensor, tumor: Tensor, coarse_tumor: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Gains of tumor, and zeros for background, (b, channels) each, channels in the order CT, PET, decoder."""
        gains, _ = self.gains_and_shift(self.means(ct, pet, decoder, tumor, coarse_tumor))
        return gains, torch.zeros_like(gains)


def means_by_share(features: Tensor, tumor: Tensor) -> Tensor:
    """(b, c, *), (b, 1, *) -> (b, 2, c): means over tumor and over background, each of one voxel more, of value 0."""
    in_tumor, share, one_voxel = _mean(features * tumor), _mean(tumor), 1 / tumor[0].numel()
    in_background = _mean(features) - in_tumor
    return torch.stack([in_tumor / (share + one_voxel), in_background / (1 - share + one_voxel)], 1)


def per_voxel(values: Tensor, like: Tensor) -> Tensor:
    """(b, channels) -> (b, channels, 1, ...), ready to be multiplied with maps."""
    return values.to(like.dtype).reshape(*values.shape, *[1] * (like.ndim - 2))


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
