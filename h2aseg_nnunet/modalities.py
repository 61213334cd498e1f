"""Which input channels are CT and which are PET. Channel order is decided in this module only."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

CT = 0
PET = 1
"""Position of each modality in a two-channel PET/CT dataset: `case_0000` is CT, `case_0001` is PET."""

CT_NORMALIZATION = "CTNormalization"
"""nnU-Net's scheme for channels named "CT" in dataset.json: clip to percentiles, then standardise over the dataset."""


NO_NORMALIZATION = "NoNormalization"
"""nnU-Net's scheme for channels named "noNorm": values stay as they are, in PET SUV."""


class StreamChannels(NamedTuple):
    """Indices of the input channels that each stream of the network reads."""

    ct: tuple[int, ...]
    pet: tuple[int, ...]


def assign_channels(normalization_schemes: Sequence[str], num_input_channels: int) -> StreamChannels:
    """Decide which input channels feed which stream.

    Two images: the first is CT and the second PET, whatever their normalisation (nnU-Net's own AutoPET dataset
    normalises both as CT). More images: those normalised as CT form the CT stream, all others the PET stream.
    Channels beyond the images are the one-hot segmentation of nnU-Net's cascade; both streams read them.

    Args:
        normalization_schemes: nnU-Net's scheme of each image channel, from the plans.
        num_input_channels: Channels the network receives: images, then cascade channels.

    Raises:
        ValueError: With fewer than two images, or if one stream would be empty.
    """
    images = len(normalization_schemes)
    ct: tuple[int, ...]
    pet: tuple[int, ...]
    if images < 2:
        raise ValueError(
            f"H2ASeg needs two modalities, CT and PET, but this dataset has {images} image channel. "
            "Add the other modality as channel 0000 (CT) or 0001 (PET), or train a stock nnU-Net trainer."
        )
    if images == 2:
        ct, pet = (CT,), (PET,)
    else:
        ct = tuple(i for i, scheme in enumerate(normalization_schemes) if scheme == CT_NORMALIZATION)
        pet = tuple(i for i in range(images) if i not in ct)
    if not ct or not pet:
        raise ValueError(
            f"With {images} image channels, those normalised by {CT_NORMALIZATION} form H2ASeg's CT stream and the "
            f"others its PET stream; here the {'CT' if not ct else 'PET'} stream is empty (schemes: "
            f"{list(normalization_schemes)}). Name the CT channels 'CT' and the PET channels e.g. 'PET' in "
            "dataset.json's channel_names, then plan and preprocess again."
        )
    cascade = tuple(range(images, num_input_channels))
    return StreamChannels(ct=ct + cascade, pet=pet + cascade)


def channels_of_plan(
    arch_kwargs: Mapping[str, Any], normalization_schemes: Sequence[str], num_input_channels: int
) -> StreamChannels:
    """The streams that a plan's architecture names as ct_channels and pet_channels; else by `assign_channels`."""
    if "ct_channels" in arch_kwargs and "pet_channels" in arch_kwargs:
        return StreamChannels(tuple(arch_kwargs["ct_channels"]), tuple(arch_kwargs["pet_channels"]))
    return assign_channels(normalization_schemes, num_input_channels)


def suv_channels(streams: StreamChannels, normalization_schemes: Sequence[str]) -> tuple[int, ...]:
    """Return the images that only the PET stream reads and that nnU-Net does not normalize: they hold SUV."""
    kept = [channel for channel, scheme in enumerate(normalization_schemes) if scheme == NO_NORMALIZATION]
    return tuple(channel for channel in kept if channel in streams.pet and channel not in streams.ct)
