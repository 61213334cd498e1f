"""Where a voxel reads from: attention weights of its token, in its own and in the other modality.

`read_attention` reads one patch, `read_voxel` a whole image.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from h2aseg_nnunet.explain.model import Model
from h2aseg_nnunet.network.attention import BidirectionalAttention, CrossModalAttention, GlobalAttention
from h2aseg_nnunet.network.h2aseg import H2ASeg
from h2aseg_nnunet.network.layout import stage_sizes
from h2aseg_nnunet.network.mcsa import MCSA
from h2aseg_nnunet.network.windows import crop, divide_up, from_windows, to_windows
from h2aseg_nnunet.petct.nnunet.sliding import window_around


class AttentionMap(NamedTuple):
    """What one token reads at one stage from one modality.

    Attributes:
        stage: 1 is full resolution.
        span: "global", "between windows" (of merged positions) or "within window".
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
        """Name in files and in explanation.json."""
        return f"stage{self.stage}_{self.span.replace(' ', '_')}_{self.reader}_reads_{self.source}"

    def share_in(self, mask: Tensor) -> float:
        """Return the share of the weights that lies in a mask (*)."""
        return (self.weights[mask].sum() / self.weights.sum()).item()

    def readable_share_of(self, mask: Tensor) -> float:
        """Return the share of the mask in what could be read: `share_in` without preference."""
        return (mask & self.readable).sum().item() / self.readable.sum().item()


class _Tokens(NamedTuple):
    """How the tokens of one attention lie on the patch, and which of them is asked.

    Attributes:
        size: Extents of the grid of tokens.
        window: Extents of the windows that the grid is cut into.
        enlarge: Brings a map (1, 1, *size) onto the patch.
        position: Position of the asked token in that grid.
    """

    size: Sequence[int]
    window: Sequence[int]
    enlarge: Callable[[Tensor], Tensor]
    position: Sequence[int]

    def asked(self) -> tuple[int, int]:
        """Return the window of the asked token, and its number within the window."""
        here = torch.zeros(1, 1, *self.size)
        here[(0, 0, *self.position)] = 1
        _, window, token, _ = to_windows(here, self.window).nonzero()[0].tolist()
        return window, token

    def on_patch(self, window: int, values: Tensor) -> Tensor:
        """Bring values (t,) of the tokens of one window onto the patch (*)."""
        num_windows = to_windows(torch.zeros(1, 1, *self.size), self.window).shape[1]
        tokens = torch.zeros(1, num_windows, len(values), 1)
        tokens[0, window, :, 0] = values
        return self.enlarge(from_windows(tokens, self.window, self.size))[0, 0]


class Reading(NamedTuple):
    """What the chosen voxel reads in one attention.

    Attributes:
        attention: The map of the window around the voxel.
        volume: Its weights (*) on the preprocessed image, 0 outside the window.
        share_in_tumor: Share of the weights that lies in predicted tumor.
        tumor_share: Share of tumor in what could be read: `share_in_tumor` without preference.
    """

    attention: AttentionMap
    volume: Tensor
    share_in_tumor: float
    tumor_share: float


def read_voxel(model: Model, data: Tensor, tumor: Tensor, voxel: Sequence[int]) -> list[Reading]:
    """Read the attention of one voxel at all stages, in the window of nnU-Net's that holds it best.

    Args:
        model: The model, from `load_model`.
        data: The preprocessed image (c, *).
        tumor: Predicted tumor (*) on the same grid.
        voxel: Index on that grid.
    """
    window = window_around(model.predictor, data, voxel)
    tumor_in_window = window.cut(tumor)
    maps = read_attention(model.network, window.patch[None].to(model.predictor.device), window.voxel)
    return [
        Reading(
            each,
            window.paste(each.weights),
            each.share_in(tumor_in_window),
            each.readable_share_of(tumor_in_window),
        )
        for each in maps
    ]


@torch.inference_mode()
def read_attention(network: H2ASeg, x: Tensor, voxel: Sequence[int]) -> list[AttentionMap]:
    """Read the attention weights of the tokens that hold a voxel, at every stage whose streams interact.

    The maps show tokens as blocks: what the network knows at that stage and no more.

    Args:
        network: H2ASeg in evaluation mode, not wrapped.
        x: A patch (1, input_channels, *) on the network's device.
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
    """Return the softmax weights (t,) with which one token of the target reads the target and the source.

    Shape:
        target, source: (1, n, t, c), as in CrossModalAttention.
        mask: (1, n, t), or None.
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
    """Yield every attention of the encoder with its stage, its span and its tokens."""
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
    """Show a stage's positions as blocks of the patch."""
    return lambda map_: F.interpolate(map_, size=tuple(patch_size), mode="nearest-exact")


def _merged_blocks(
    merge: Sequence[int], size: Sequence[int], to_patch: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    """Show merged tokens as blocks of a stage's positions, padding dropped, then of the patch."""

    def enlarge(merged: Tensor) -> Tensor:
        padded = [n * m for n, m in zip(merged.shape[2:], merge, strict=True)]
        return to_patch(crop(F.interpolate(merged, size=padded, mode="nearest-exact"), size))

    return enlarge
