"""H2ASeg computed formula by formula, as the authors' release does: what the fast network is compared with.

Every projection is its own convolution, attention keeps its scores, both paths of a residual block normalise for
themselves, and TAMW makes the masked copies that its formula names. Modules carry the names of the release's weights,
so that they load as they are. Nothing here is meant to be fast; the plugin does not use it.

Source: Lu et al., MICCAI 2024, arXiv:2403.18339. Notation: feature maps (b, c, d, h, w), every stride 2.
"""

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F


class LiteralH2ASeg(nn.Module):
    """The published network, 3D, with two classes and one channel per stream.

    Args:
        channels: Features per stream, one number per stage.
        window_size: Windows of MCSA; the smallest extent is also merged between windows.
        dropout: In encoder, decoder and attention.
        deep_supervision: Return the logits of all stages.

    Shape:
        x: (b, 2, d, h, w), CT and PET. Output: logits (b, 2, d, h, w), or a list of them, full resolution first, each
        at its stage's resolution.
    """

    def __init__(
        self,
        channels: Sequence[int] = (8, 16, 32, 64, 128),
        window_size: Sequence[int] = (8, 8, 4),
        dropout: float = 0.5,
        deep_supervision: bool = False,
    ):
        super().__init__()
        self.deep_supervision = deep_supervision
        self.encoder = Encoder(channels, window_size, dropout)
        self.decoder = Decoder(channels, dropout)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        ct, pet = x.split(1, dim=1)
        logits = self.decoder(self.encoder(ct, pet))
        return logits if self.deep_supervision else logits[0]


class Encoder(nn.Module):
    """Stage 1 to L: a residual block per stream; then MCSA at stages 2 and 3, global attention from stage 4 on."""

    def __init__(self, channels: Sequence[int], window_size: Sequence[int], dropout: float):
        super().__init__()
        self.n_stages = len(channels)
        for stage, c in enumerate(channels, start=1):
            for stream in ("ct", "pet"):
                block = StemBlock(c, dropout) if stage == 1 else ResidualBlock(channels[stage - 2], c, 2, dropout)
                self.add_module(f"conv{stage}_{stream}", block)
            if stage in (2, 3):
                self.add_module(f"sa{stage}", MCSA(c, window_size, dropout))
            elif stage > 3:
                self.add_module(f"sa{stage}", BidirectionalAttention(c, 1, dropout, residual=True))

    def forward(self, ct: Tensor, pet: Tensor) -> list[tuple[Tensor, Tensor]]:
        features = []
        for stage in range(1, self.n_stages + 1):
            ct, pet = getattr(self, f"conv{stage}_ct")(ct), getattr(self, f"conv{stage}_pet")(pet)
            if stage > 1:
                ct, pet = getattr(self, f"sa{stage}")(ct, pet)
            features.append((ct, pet))
        return features


class StemBlock(nn.Module):
    """conv3, IN, PReLU, channel dropout, conv3, beside conv3."""

    def __init__(self, channels: int, dropout: float):
        super().__init__()
        self.conv_block = nn.Sequential(
            conv(1, channels),
            nn.InstanceNorm3d(channels),
            nn.PReLU(),
            nn.Dropout3d(dropout),
            conv(channels, channels),
        )
        self.conv_skip = nn.Sequential(conv(1, channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_block(x) + self.conv_skip(x)


class ResidualBlock(nn.Module):
    """IN, PReLU, conv3/s, channel dropout, IN, PReLU, conv3, beside IN, PReLU, conv3/s."""

    def __init__(self, in_channels: int, channels: int, stride: int, dropout: float):
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.InstanceNorm3d(in_channels),
            nn.PReLU(),
            conv(in_channels, channels, stride),
            nn.Dropout3d(dropout),
            nn.InstanceNorm3d(channels),
            nn.PReLU(),
            conv(channels, channels),
        )
        self.conv_skip = nn.Sequential(nn.InstanceNorm3d(in_channels), nn.PReLU(), conv(in_channels, channels, stride))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_block(x) + self.conv_skip(x)


class CrossAttention(nn.Module):
    """The target reads itself and the source: (n, c, *) each, every map of the batch on its own."""

    def __init__(self, channels: int, reduction: int, dropout: float, residual: bool):
        super().__init__()
        self.residual = residual
        for pair in ("target_target", "source_target"):
            self.add_module(f"Q_conv_{pair}", projection(channels, channels // reduction))
            self.add_module(f"K_conv_{pair}", projection(channels, channels // reduction))
            self.add_module(f"V_conv_{pair}", projection(channels, channels))
        self.out = projection(channels, channels)
        self.attention_dropout = nn.Dropout(dropout)
        self.out_dropout = nn.Dropout(dropout)

    def forward(self, target: Tensor, source: Tensor) -> Tensor:
        updates = [
            self.attend(
                self.get_submodule(f"Q_conv_{pair}")(target),
                self.get_submodule(f"K_conv_{pair}")(read),
                self.get_submodule(f"V_conv_{pair}")(read),
            )
            for pair, read in (("target_target", target), ("source_target", source))
        ]
        update = self.out_dropout(self.out((updates[0] + updates[1]) / 2))
        return target + update if self.residual else update

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Softmax of the scores over all positions, in full."""
        scores = query.flatten(2).transpose(1, 2) @ key.flatten(2) / query.shape[1] ** 0.5  # (n, queries, keys)
        weights = self.attention_dropout(scores.softmax(dim=-1))
        return (value.flatten(2) @ weights.transpose(1, 2)).reshape(value.shape)


class BidirectionalAttention(nn.Module):
    """CT reads PET and PET reads CT, both from the un-updated inputs."""

    def __init__(self, channels: int, reduction: int, dropout: float, residual: bool = False):
        super().__init__()
        self.sa_ct = CrossAttention(channels, reduction, dropout, residual)
        self.sa_pet = CrossAttention(channels, reduction, dropout, residual)

    def forward(self, ct: Tensor, pet: Tensor) -> tuple[Tensor, Tensor]:
        return self.sa_ct(ct, pet), self.sa_pet(pet, ct)


class WindowAttention(nn.Module):
    """Bidirectional attention inside every window; windows take the place of batch elements."""

    def __init__(self, channels: int, window_size: Sequence[int], dropout: float):
        super().__init__()
        self.extents = dict(zip(("td", "th", "tw"), window_size, strict=True))
        self.sa = BidirectionalAttention(channels, 4, dropout)

    def forward(self, ct: Tensor, pet: Tensor) -> tuple[Tensor, Tensor]:
        maps, windows = "b c (nd td) (nh th) (nw tw)", "(b nd nh nw) c td th tw"
        _, _, d, h, w = ct.shape
        td, th, tw = self.extents.values()
        updates = self.sa(*(rearrange(x, f"{maps} -> {windows}", **self.extents).contiguous() for x in (ct, pet)))
        counts = {"nd": d // td, "nh": h // th, "nw": w // tw}
        ct_update, pet_update = (rearrange(update, f"{windows} -> {maps}", **counts) for update in updates)
        return ct_update, pet_update


class MCSA(nn.Module):
    """Attention between merged windows, then within windows; each is added and followed by IN and PReLU."""

    def __init__(self, channels: int, window_size: Sequence[int], dropout: float):
        super().__init__()
        self.merge = min(window_size)
        self.win_merge_ct = nn.Conv3d(channels, channels, self.merge, self.merge)
        self.win_merge_pet = nn.Conv3d(channels, channels, self.merge, self.merge)
        self.inter_window_attention = BidirectionalAttention(channels, 4, dropout)
        self.intra_window_attention = WindowAttention(channels, window_size, dropout)
        for name in ("IR_ct1", "IR_pet1", "IR_ct2", "IR_pet2"):
            self.add_module(name, nn.Sequential(nn.InstanceNorm3d(channels), nn.PReLU()))

    def forward(self, ct: Tensor, pet: Tensor) -> tuple[Tensor, Tensor]:
        ct_update, pet_update = self.inter_window_attention(self.win_merge_ct(ct), self.win_merge_pet(pet))
        ct, pet = self.IR_ct1(ct + up(ct_update, self.merge)), self.IR_pet1(pet + up(pet_update, self.merge))
        ct_update, pet_update = self.intra_window_attention(ct, pet)
        return self.IR_ct2(ct + ct_update), self.IR_pet2(pet + pet_update)


class ChannelAttention(nn.Module):
    """w_k = tanh(fc2(tanh(fc1(g_k)))): masked parts of the features -> the gains of each, (b, c, 1, 1, 1)."""

    def __init__(self, channels: int):
        super().__init__()
        self.fc1 = nn.Linear(channels, channels // 4)
        self.fc2 = nn.Linear(channels // 4, channels)

    def forward(self, *masked: Tensor) -> tuple[Tensor, ...]:
        means = torch.cat([part.mean((2, 3, 4)) for part in masked], dim=1)
        gains = self.fc2(self.fc1(means).tanh()).tanh()
        return gains[..., None, None, None].split([part.shape[1] for part in masked], dim=1)


class TAMW(nn.Module):
    """[ct, pet, f] + w_1 * [ct p1, pet p1, f] - w_0 * [ct p0, pet p0, f], term by term."""

    def __init__(self, channels: int):
        super().__init__()
        self.CA_fore = ChannelAttention(channels)
        self.CA_back = ChannelAttention(channels)

    def forward(self, ct: Tensor, pet: Tensor, f: Tensor, probabilities: Tensor) -> Tensor:
        background, tumor = probabilities.split(1, dim=1)
        fore, back = (ct * tumor, pet * tumor, f), (ct * background, pet * background, f)
        terms = zip((ct, pet, f), self.CA_fore(*fore), fore, self.CA_back(*back), back, strict=True)
        return torch.cat([x + w1 * x1 - w0 * x0 for x, w1, x1, w0, x0 in terms], dim=1)


class Head(nn.Module):
    """IN, PReLU, conv3 to the logits of two classes."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Sequential(nn.InstanceNorm3d(channels), nn.PReLU(), conv(channels, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Decoder(nn.Module):
    """From the concatenated deepest features up: TAMW with the coarser prediction, residual block, head."""

    def __init__(self, channels: Sequence[int], dropout: float):
        super().__init__()
        self.n_stages = len(channels)
        for stage, c in enumerate(channels, start=1):
            self.add_module(f"output{stage}", Head(2 * c))
            if stage < self.n_stages:
                joined = 2 * c + 2 * channels[stage]
                self.add_module(f"tamw{stage}", TAMW(joined))
                self.add_module(f"conv{stage}", ResidualBlock(joined, 2 * c, 1, dropout))

    def forward(self, features: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
        f = torch.cat(features[-1], dim=1)
        logits = [getattr(self, f"output{self.n_stages}")(f)]
        for stage in range(self.n_stages - 1, 0, -1):
            ct, pet = features[stage - 1]
            probabilities = up(logits[0], 2).softmax(dim=1)
            f = getattr(self, f"conv{stage}")(getattr(self, f"tamw{stage}")(ct, pet, up(f, 2), probabilities))
            logits.insert(0, getattr(self, f"output{stage}")(f))
        return logits


def conv(in_channels: int, channels: int, stride: int = 1) -> nn.Conv3d:
    return nn.Conv3d(in_channels, channels, 3, stride, padding=1)


def projection(in_channels: int, channels: int) -> nn.Conv3d:
    return nn.Conv3d(in_channels, channels, 1, bias=False)


def up(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="trilinear", align_corners=True)
