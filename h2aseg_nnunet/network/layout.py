"""From a plan to H2ASeg's arguments: streams, features, where the streams interact, and what is refused."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

from torch import nn

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.modalities import CT, PET
from h2aseg_nnunet.network.windows import divide_up

INTERACTIONS = ("none", "mcsa", "global")
MAX_GLOBAL_POSITIONS = 4096

PLAN_KEYS = ("n_stages", "features_per_stage", "conv_op", "kernel_sizes", "strides", "conv_bias")
"""What H2ASeg takes over from the plan of nnU-Net's own networks."""

DEFAULT_FORM = {"attention_token_norm": True, "residual_mcsa": True, "gated_tamw": True}
"""Departures from the release that plans made for a U-Net get: see BidirectionalAttention, MCSA and GatedTAMW."""

PUBLISHED_MODULES = {"residual_mcsa": False, "gated_tamw": False}
"""MCSA and TAMW in the release's form."""

MIN_FEATURES = 4
"""Attention and TAMW work with a quarter of the features."""

_CHECKED = ("norm_op", "dropout_op")
_FIXED = {  # what H2ASeg decides by itself: two convolutions per block, norm without affine, PReLU
    *("n_conv_per_stage", "n_blocks_per_stage", "n_conv_per_stage_decoder"),
    *("norm_op_kwargs", "dropout_op_kwargs", "nonlin", "nonlin_kwargs"),
}


class AttentionLayout(NamedTuple):
    """How the streams interact.

    Attributes:
        interactions: One of INTERACTIONS per stage.
        window_size: Extents of MCSA's windows.
        merge_sizes: MCSA's merge extents per stage.
    """

    interactions: list[str]
    window_size: tuple[int, ...]
    merge_sizes: list[list[int]]


def arguments_from_unet(unet_arguments: Mapping[str, Any], network_class: str, features_divisor: int) -> dict[str, Any]:
    """Map the architecture of a plan made for a U-Net to arguments of H2ASeg.

    Args:
        unet_arguments: The plan's `arch_kwargs`.
        network_class: The plan's network, for the message.
        features_divisor: The plan's features, divided by this, are the features of each stream.

    Raises:
        UserError: If the plan lacks a key.
    """
    missing = [key for key in PLAN_KEYS if key not in unet_arguments]
    if missing:
        raise UserError(
            f"The plan's architecture ({network_class}) has no {missing}, which H2ASeg takes over. Use plans made for "
            "a U-Net (nnUNetv2_plan_experiment with the default or a ResEnc planner), or plan again if the file was "
            "edited."
        )
    features = [max(MIN_FEATURES, f // features_divisor) for f in unet_arguments["features_per_stage"]]
    taken_over = {key: unet_arguments[key] for key in (*PLAN_KEYS, *_CHECKED) if key in unet_arguments}
    return taken_over | {"features_per_stage": features} | DEFAULT_FORM


def stage_sizes(patch_size: Sequence[int], strides: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """Extents of the feature maps of every stage; a stride that does not divide an extent rounds up."""
    sizes = [tuple(patch_size)]
    for stride in strides[1:]:
        sizes.append(tuple(divide_up(sizes[-1], stride)))
    return sizes


def default_interactions(patch_size: Sequence[int], strides: Sequence[Sequence[int]]) -> list[str]:
    """How the streams interact at each stage of a plan.

    Stage 1 has no interaction (published): attention at full resolution costs the most and its features say the least.
    Attention is global where the map has at most 4,096 positions, because its cost grows with their square. This
    includes stage 4 of the published patch (16 x 16 x 8) and of nnU-Net's usual 128 x 128 x 128 (16 x 16 x 16). Other
    stages have MCSA. For the published patch of 128 x 128 x 64 this gives none, MCSA, MCSA, global, global.
    """
    sizes = stage_sizes(patch_size, strides)
    return ["none"] + ["global" if prod(size) <= MAX_GLOBAL_POSITIONS else "mcsa" for size in sizes[1:]]


def default_window_size(patch_size: Sequence[int]) -> tuple[int, ...]:
    """Window extents for a patch: 8 positions along every axis, in 3D 4 along the axis with the fewest voxels.

    Published: 8 x 8 x 4 for 128 x 128 x 64. A fixed window (256 positions, in 2D 64) keeps the cost of attention per
    voxel constant. Where several axes are shortest the first is taken, nnU-Net's axis of lowest resolution.
    """
    window = [8] * len(patch_size)
    if len(patch_size) == 3:
        window[list(patch_size).index(min(patch_size))] = 4
    return tuple(window)


def lay_out_attention(
    strides: Sequence[Sequence[int]],
    patch_size: Sequence[int] | None = None,
    interactions: str | Sequence[str] | None = None,
    window_size: Sequence[int] | None = None,
) -> AttentionLayout:
    """Complete what is not given from the patch, by `default_interactions` and `default_window_size`.

    Merge extents are the smallest window extent on every axis (published: 4), but never more than the map has.

    Args:
        strides: Strides per stage and axis.
        patch_size: Extents of the input that the network is planned for.
        interactions: One of INTERACTIONS per stage, or one for all stages.
        window_size: Extents of MCSA's windows.

    Raises:
        ValueError: If an argument does not fit the others or is missing; the message names it.
    """
    n_stages, dimension = len(strides), len(strides[0])
    if isinstance(interactions, str):
        interactions = [interactions] * n_stages
    if patch_size is None:
        if interactions is None or window_size is None:
            raise ValueError("Give patch_size, or both interactions and window_size: they decide where attention sits.")
        sizes = None
    else:
        if len(patch_size) != dimension:
            raise ValueError(f"patch_size={list(patch_size)}: expected {dimension} extents, as many as conv_op has.")
        sizes = stage_sizes(patch_size, strides)
        interactions = interactions or default_interactions(patch_size, strides)
        window_size = window_size or default_window_size(patch_size)
    if len(interactions) != n_stages or not set(interactions) <= set(INTERACTIONS):
        raise ValueError(f"interactions={list(interactions)}: expected {n_stages} out of {INTERACTIONS}.")
    if len(window_size) != dimension:
        raise ValueError(f"window_size={list(window_size)}: expected {dimension} extents, as many as conv_op has.")
    merge = min(window_size)
    merge_sizes = [[min(merge, n) for n in size] for size in sizes or [(merge,) * dimension] * n_stages]
    return AttentionLayout(list(interactions), tuple(window_size), merge_sizes)


def assign_streams(
    input_channels: int, ct_channels: Sequence[int] | None, pet_channels: Sequence[int] | None
) -> tuple[list[int], list[int]]:
    """Input channels of the CT and of the PET stream; by default channel 0 is CT and all others are PET.

    Raises:
        ValueError: If a stream would be empty or a channel would feed none.
    """
    if ct_channels is None and pet_channels is None:
        ct_channels, pet_channels = [CT], range(PET, input_channels)
    if not ct_channels or not pet_channels or set(ct_channels) | set(pet_channels) != set(range(input_channels)):
        raise ValueError(
            f"input_channels={input_channels}, ct_channels={ct_channels}, pet_channels={pet_channels}: H2ASeg needs "
            "CT and PET, at least one channel each, and every channel must feed a stream. Give both lists or none."
        )
    return list(ct_channels), list(pet_channels)


def per_stage_and_axis(name: str, value: Any, n_stages: int, dimension: int) -> list[list[int]]:
    """One number, one number per stage, or one per stage and axis -> one per stage and axis.

    Raises:
        ValueError: If there are not as many as stages and axes.
    """
    if isinstance(value, int):
        value = [1 if name == "strides" else value] + [value] * (n_stages - 1)
    value = [[v] * dimension if isinstance(v, int) else list(v) for v in value]
    if len(value) != n_stages or any(len(v) != dimension for v in value):
        raise ValueError(f"{name}={value}: expected {n_stages} stages (n_stages) of {dimension} extents each.")
    return value


def check_sizes(
    n_stages: int,
    num_classes: int,
    features_per_stage: Sequence[int],
    kernel_sizes: Sequence[Sequence[int]],
    strides: Sequence[Sequence[int]],
) -> None:
    """Refuse numbers that the network cannot be built with.

    Raises:
        ValueError: If one does not fit; the message names it.
    """
    if len(features_per_stage) != n_stages or min(features_per_stage) < MIN_FEATURES:
        raise ValueError(
            f"features_per_stage={list(features_per_stage)}: expected {n_stages} numbers (n_stages), each at least "
            f"{MIN_FEATURES}, because attention and TAMW work with a quarter of them."
        )
    if n_stages < 2 or num_classes < 1:
        raise ValueError(f"n_stages={n_stages} must be at least 2 and num_classes={num_classes} at least 1.")
    if any(k % 2 == 0 for kernel in kernel_sizes for k in kernel):
        raise ValueError(f"kernel_sizes={kernel_sizes}: even extents would shift the feature maps.")
    if any(s != 1 for s in strides[0]):
        raise ValueError(f"strides[0]={strides[0]}: the first stage must keep full resolution (stride 1).")


def check_stock_options(options: Mapping[str, Any]) -> None:
    """Accept what the stock U-Nets' plans hold beside H2ASeg's own arguments, where it changes nothing.

    Raises:
        TypeError: If a key is none of the stock U-Nets'.
        UserError: If a value would silently change the meaning of the plan, such as batch norm or dropout.
    """
    unknown = sorted(options.keys() - _FIXED - set(_CHECKED))
    if unknown:
        raise TypeError(f"H2ASeg has no argument {', '.join(unknown)}.")
    norm_op, dropout_op = (options.get(key) for key in _CHECKED)
    if norm_op is not None and not issubclass(norm_op, nn.modules.instancenorm._InstanceNorm):
        raise UserError(f"norm_op={norm_op.__name__}: H2ASeg normalizes by instance norm only.")
    if dropout_op is not None:
        raise UserError(
            f"dropout_op={dropout_op.__name__}: H2ASeg's dropout is set by encoder_dropout, decoder_dropout and "
            "attention_dropout; set dropout_op to null in the plans."
        )
