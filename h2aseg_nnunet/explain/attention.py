"""Where a voxel reads from: attention weights of its token, in its own and in the other modality."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from h2aseg_nnunet.network.attention import BidirectionalAttention, CrossModalAttention, GlobalAttention
from h2aseg_nnunet.network.h2aseg import H2ASeg
from h2aseg_nnunet.network.layout import stage_sizes
from h2aseg_nnunet.network.mcsa import MCSA
from h2aseg_nnunet.network.windows import crop, divide_up, from_windows, to_windows


class AttentionMap(NamedTuple):
    """What one token reads at one stage from one modality.

    Attributes:
        stage: 1 is full resolution.
        span: "global", "between windows" (merged positions) or "within window".
        reader, source: "CT" or "PET": the stream that reads and the stream it reads from.
        weights: (*), on the patch: attention weight times the number of tokens that could be read, so that 1 is what
            each would get without preference; 0 where nothing is read.
        readable: (*), where the token may read.
    """

    stage: int
    span: str
    reader: str
    source: str
    weights: Tensor
    readable: Tensor

    @property
    def name(self) -> str:
        return f"stage{self.stage}_{self.span.replace(' ', '_')}_{self.reader}_reads_{self.source}"

    def share_in(self, mask: Tensor) -> float:
        """Share of the weights that lies in a mask (*)."""
        return (self.weights[mask].sum() / self.weights.sum()).item()

    def readable_share_of(self, mask: Tensor) -> float:
        """Share of the mask in what could be read: `share_in` without preference."""
        return (mask & self.readable).sum().item() / self.readable.sum().item()


class _Tokens(NamedTuple):
    """How the tokens of one attention lie on the patch, and which of them is asked.

    Attributes:
        size: Extents of the grid of tokens.
        window: Extents of the windows it is cut into.
        enlarge: Brings a map (1, 1, *size) onto the patch.
        position: Of the asked token in that grid.
    """

    size: Sequence[int]
    window: Sequence[int]
    enlarge: Callable[[Tensor], Tensor]
    position: Sequence[int]

    def asked(self) -> tuple[int, int]:
        """Its window, and its number within the window."""
        here = torch.zeros(1, 1, *self.size)
        here[(0, 0, *self.position)] = 1
        _, window, token, _ = to_windows(here, self.window).nonzero()[0].tolist()
        return window, token

    def on_patch(self, window: int, values: Tensor) -> Tensor:
        """Values (t,) of the tokens of one window -> (*) on the patch."""
        num_windows = to_windows(torch.zeros(1, 1, *self.size), self.window).shape[1]
        tokens = torch.zeros(1, num_windows, len(values), 1)
        tokens[0, window, :, 0] = values
        return self.enlarge(from_windows(tokens, self.window, self.size))[0, 0]


@torch.inference_mode()
def read_attention(network: H2ASeg, x: Tensor, voxel: Sequence[int]) -> list[AttentionMap]:
    """Attention weights of the tokens that hold a voxel, at every stage whose streams interact.

    The maps show tokens as blocks: what the network knows at that stage and no more.

    Args:
        network: H2ASeg in evaluation mode, not wrapped.
        x: (1, input_channels, *), a patch, on the network's device.
        voxel: Index within the patch.
    """
    maps: list[AttentionMap] = []
    with ExitStack() as hooks:
        for stage, span, attention, tokens in _attentions(network, x.shape[2:], voxel):
            for reader, source, module in (
                ("CT", "PET", attention.ct_reads_pet),
                ("PET", "CT", attention.pet_reads_ct),
            ):
                hook = _keep_weights(maps, (stage, span), (reader, source), tokens)
                hooks.enter_context(module.register_forward_hook(hook, with_kwargs=True))
        network(x)
    return maps


def attention_weights(
    attention: CrossModalAttention,
    target: Tensor,
    source: Tensor,
    mask: Tensor | None,
    window: int,
    token: int,
) -> tuple[Tensor, Tensor]:
    """Softmax weights (t,) with which one token of the target reads the target and the source.

    Shape:
        target, source and mask: As in CrossModalAttention, with b = 1.
    """
    here = slice(window, window + 1)
    projections = attention.project(target[:, here], source[:, here])
    query_target, query_source, key_target, key_source, *_ = (each[0, 0].float() for each in projections)
    scores = torch.stack([key_target @ query_target[token], key_source @ query_source[token]])
    scores = scores * attention.key_channels**-0.5
    if mask is not None:
        scores = scores.masked_fill(~mask[0, window], -torch.inf)
    own, other = scores.softmax(-1)
    return own, other


def _keep_weights(
    maps: list[AttentionMap], place: tuple[int, str], streams: tuple[str, str], tokens: _Tokens
) -> Callable[..., None]:
    window, token = tokens.asked()
    reader, other_stream = streams

    def hook(module: CrossModalAttention, args: tuple, tokens_in: dict, output: Tensor) -> None:
        mask = tokens_in["mask"]
        own, other = attention_weights(module, **tokens_in, window=window, token=token)
        allowed = torch.ones(len(own)) if mask is None else mask[0, window].float().cpu()
        readable = tokens.on_patch(window, allowed) > 0
        for source, weights in ((reader, own), (other_stream, other)):
            relative = tokens.on_patch(window, weights.cpu() * allowed.sum())
            maps.append(AttentionMap(*place, reader, source, relative, readable))

    return hook


def _attentions(
    network: H2ASeg, patch_size: Sequence[int], voxel: Sequence[int]
) -> Iterator[tuple[int, str, BidirectionalAttention, _Tokens]]:
    """Every attention of the encoder with its stage, its span and its tokens."""
    sizes = stage_sizes(patch_size, network.encoder.strides)
    for stage, (module, size) in enumerate(zip(network.encoder.stages, sizes, strict=True), start=1):
        position = [(2 * v + 1) * n // (2 * extent) for v, n, extent in zip(voxel, size, patch_size, strict=True)]
        to_patch = _blocks(patch_size)
        if isinstance(module.interaction, GlobalAttention):
            yield stage, "global", module.interaction.attention, _Tokens(size, size, to_patch, position)
        elif isinstance(module.interaction, MCSA):
            between, within = module.interaction.between_windows, module.interaction.within_windows
            merge = between.merge_size
            merged, merged_position = divide_up(size, merge), [p // m for p, m in zip(position, merge, strict=True)]
            enlarge = _merged_blocks(merge, size, to_patch)
            yield stage, "between windows", between.attention, _Tokens(merged, merged, enlarge, merged_position)
            window = [min(extent, w) for extent, w in zip(size, within.window_size, strict=True)]
            yield stage, "within window", within.attention, _Tokens(size, window, to_patch, position)


def _blocks(patch_size: Sequence[int]) -> Callable[[Tensor], Tensor]:
    """A stage's positions as blocks of the patch."""
    return lambda map_: F.interpolate(map_, size=tuple(patch_size), mode="nearest-exact")


def _merged_blocks(
    merge: Sequence[int], size: Sequence[int], to_patch: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    """Merged tokens as blocks of a stage's positions, padding dropped, then of the patch."""

    def enlarge(merged: Tensor) -> Tensor:
        padded = [n * m for n, m in zip(merged.shape[2:], merge, strict=True)]
        return to_patch(crop(F.interpolate(merged, size=padded, mode="nearest-exact"), size))

    return enlarge
