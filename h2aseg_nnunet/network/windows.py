"""Cut feature maps into non-overlapping windows of tokens, and put them together again."""

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

# n counts windows along an axis, t the positions within a window along it
_MAP = {2: "b (nh th) (nw tw) c", 3: "b (nd td) (nh th) (nw tw) c"}
_TOKENS = {2: "b (nh nw) (th tw) c", 3: "b (nd nh nw) (td th tw) c"}


def divide_up(size: Sequence[int], by: Sequence[int]) -> list[int]:
    """Divide every extent, rounding up: the windows that cover an axis, or the extent of a strided map."""
    return [-(-extent // b) for extent, b in zip(size, by, strict=True)]


def pad_to_windows(x: Tensor, window: Sequence[int]) -> Tensor:
    """(b, c, *) -> zeros appended at the end of every axis that the window does not divide."""
    padding = [-extent % w for extent, w in zip(x.shape[2:], window, strict=True)]
    if not any(padding):
        return x
    return F.pad(x, [p for extent in reversed(padding) for p in (0, extent)])


def crop(x: Tensor, size: Sequence[int]) -> Tensor:
    """(b, c, *) -> (b, c, *size): undo pad_to_windows."""
    for axis, extent in enumerate(size, start=2):
        if extent < x.shape[axis]:
            x = x.narrow(axis, 0, extent)
    return x


def to_windows(x: Tensor, window: Sequence[int]) -> Tensor:
    """(b, c, *) -> (b, n, t, c): n windows of t positions each, padded with zeros where the map ends."""
    x = pad_to_windows(x, window).movedim(1, -1)
    dimension = len(window)
    return rearrange(x, f"{_MAP[dimension]} -> {_TOKENS[dimension]}", **_extents("t", window))


def from_windows(tokens: Tensor, window: Sequence[int], size: Sequence[int]) -> Tensor:
    """(b, n, t, c) -> (b, c, *size): the inverse of to_windows; padding is dropped."""
    dimension = len(window)
    extents = _extents("t", window) | _extents("n", divide_up(size, window))
    return crop(rearrange(tokens, f"{_TOKENS[dimension]} -> {_MAP[dimension]}", **extents).movedim(-1, 1), size)


def window_mask(size: Sequence[int], window: Sequence[int], device: torch.device) -> Tensor | None:
    """(1, n, t): True where a window holds a position of the map, False where padding; None if nothing is padded."""
    if all(extent % w == 0 for extent, w in zip(size, window, strict=True)):
        return None
    return to_windows(torch.ones(1, 1, *size, device=device), window).squeeze(-1) > 0


def _extents(prefix: str, values: Sequence[int]) -> dict[str, int]:
    """Extents by the names that the patterns give them."""
    return {prefix + axis: value for axis, value in zip("dhw"[-len(values) :], values, strict=True)}
