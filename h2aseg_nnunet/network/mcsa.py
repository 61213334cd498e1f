"""MCSA: CT and PET features inform each other, first between windows, then within them."""

from collections.abc import Sequence

from torch import Tensor, nn

from h2aseg_nnunet.network import kernels
from h2aseg_nnunet.network.attention import BidirectionalAttention, from_tokens, to_tokens
from h2aseg_nnunet.network.blocks import ConvOp, NormPReLU
from h2aseg_nnunet.network.resize import resize
from h2aseg_nnunet.network.windows import (
    crop,
    divide_up,
    from_windows,
    pad_to_windows,
    to_windows,
    window_mask,
)

REDUCTION = 4
"""r in the paper: queries and keys inside MCSA have a quarter of the channels."""

LAYER_SCALE = 0.1
"""Where the scales of the residual form start."""


class MCSA(nn.Module):
    """Modality-Cooperative Spatial Attention.

    Departures from the release, all of them without effect on maps that windows divide:
    - A map smaller than the window along an axis is one window along it: windows never hold mostly padding.
    - Other maps are padded with zeros at their ends. Within windows padded positions are masked out as keys; between
      windows zeros add nothing to the merging convolution, whose every output covers at least one real position.
      Positions beyond the map are cropped afterwards, so padding never reaches a real position.

    The release puts norm and PReLU on the path of the encoder's residual blocks, after each attention: a stage with
    MCSA cannot pass its input on. The residual form leaves them out and adds what attention read,
    ct + s1 between(ct, pet) and then ct + s2 within(ct, pet), with a learned scale s per channel that starts small: at
    first the encoder is the one without attention.

    Args:
        conv_op: Convolution class, which sets the dimension.
        channels: Features c of each stream.
        window_size: Extents of a window, in positions of this stage.
        merge_size: Extents merged into one token between windows; the release takes the smallest window extent (m).
        dropout: Dropout in both attentions.
        token_norm: Whether attention between windows normalizes what it reads; see BidirectionalAttention.
        residual: Whether the form is the residual one, in which attention within windows follows token_norm, too.

    Shape:
        ct, pet and both outputs: (b, c, *).

    Reference:
        Lu et al., H2ASeg, arXiv:2403.18339.
    """

    def __init__(
        self,
        conv_op: ConvOp,
        channels: int,
        window_size: Sequence[int],
        merge_size: Sequence[int],
        dropout: float = 0.0,
        token_norm: bool = False,
        residual: bool = False,
    ):
        super().__init__()
        self.residual = residual
        layer_scale = LAYER_SCALE if residual else None
        self.between_windows = BetweenWindows(conv_op, channels, merge_size, dropout, token_norm, layer_scale)
        if not residual:
            self.ct_activation1 = NormPReLU()
            self.pet_activation1 = NormPReLU()
        self.within_windows = WithinWindows(channels, window_size, dropout, token_norm and residual, layer_scale)
        if not residual:
            self.ct_activation2 = NormPReLU()
            self.pet_activation2 = NormPReLU()

    def forward(self, ct: Tensor, pet: Tensor) -> tuple[Tensor, Tensor]:
        ct_update, pet_update = self.between_windows(ct=ct, pet=pet)
        if self.residual:
            ct, pet = ct + ct_update, pet + pet_update
            ct_update, pet_update = self.within_windows(ct=ct, pet=pet)
            return ct + ct_update, pet + pet_update
        ct, pet = self._activate(self.ct_activation1, self.pet_activation1, ct=ct + ct_update, pet=pet + pet_update)
        ct_update, pet_update = self.within_windows(ct=ct, pet=pet)
        return self._activate(self.ct_activation2, self.pet_activation2, ct=ct + ct_update, pet=pet + pet_update)

    def _activate(
        self, ct_activation: NormPReLU, pet_activation: NormPReLU, ct: Tensor, pet: Tensor
    ) -> tuple[Tensor, Tensor]:
        if kernels.use_fused(self, ct):
            ct, pet = kernels.norm_prelus([ct_activation, pet_activation], [ct, pet])
            return ct, pet
        return ct_activation(ct), pet_activation(pet)


class BetweenWindows(nn.Module):
    """Merge blocks of positions into tokens, let all tokens of both streams interact, interpolate back."""

    def __init__(
        self,
        conv_op: ConvOp,
        channels: int,
        merge_size: Sequence[int],
        dropout: float,
        token_norm: bool,
        layer_scale: float | None = None,
    ):
        super().__init__()
        self.merge_size = tuple(merge_size)
        self.merge_ct = conv_op(channels, channels, self.merge_size, self.merge_size)
        self.merge_pet = conv_op(channels, channels, self.merge_size, self.merge_size)
        self.attention = BidirectionalAttention(channels, REDUCTION, dropout, token_norm, layer_scale)

    def forward(self, ct: Tensor, pet: Tensor) -> tuple[Tensor, Tensor]:
        size = ct.shape[2:]
        ct = self.merge_ct(pad_to_windows(ct, self.merge_size))
        pet = self.merge_pet(pad_to_windows(pet, self.merge_size))
        ct_update, pet_update = self.attention(ct=to_tokens(ct), pet=to_tokens(pet))
        ct_update, pet_update = from_tokens(ct_update, like=ct), from_tokens(pet_update, like=pet)
        return self._enlarge(ct_update, size), self._enlarge(pet_update, size)

    def _enlarge(self, merged: Tensor, size: Sequence[int]) -> Tensor:
        padded = [n * m for n, m in zip(divide_up(size, self.merge_size), self.merge_size, strict=True)]
        return crop(resize(merged, padded), size)


class WithinWindows(nn.Module):
    """Bidirectional attention inside every non-overlapping window.

    In the published form tokens need no norm of their own here: attention reads maps that have just been normalized.
    """

    def __init__(
        self,
        channels: int,
        window_size: Sequence[int],
        dropout: float,
        token_norm: bool = False,
        layer_scale: float | None = None,
    ):
        super().__init__()
        self.window_size = tuple(window_size)
        self.attention = BidirectionalAttention(channels, REDUCTION, dropout, token_norm, layer_scale)

    def forward(self, ct: Tensor, pet: Tensor) -> tuple[Tensor, Tensor]:
        size = ct.shape[2:]
        window = [min(extent, w) for extent, w in zip(size, self.window_size, strict=True)]
        mask = window_mask(size, window, ct.device)
        ct, pet = to_windows(ct, window), to_windows(pet, window)
        ct_update, pet_update = self.attention(ct=ct, pet=pet, mask=mask)
        return from_windows(ct_update, window, size), from_windows(pet_update, window, size)
