"""What a modality contributes: the prediction without it, its images replaced by their mean."""

from collections.abc import Sequence

from torch import Tensor


def without(data: Tensor, channels: Sequence[int]) -> Tensor:
    """A preprocessed image (c, *) whose given channels hold their own mean everywhere.

    The mean, not zero: zero means another value in every normalisation scheme.
    """
    replaced = data.clone()
    for channel in channels:
        replaced[channel] = data[channel].mean()
    return replaced
