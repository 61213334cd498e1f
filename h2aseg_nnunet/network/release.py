"""Weights of the authors' release (JinPLu/H2ASeg): their names, and loading them into H2ASeg."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from h2aseg_nnunet.network.attention import CrossModalAttention
from h2aseg_nnunet.network.h2aseg import H2ASeg
from h2aseg_nnunet.network.mcsa import MCSA

_CROSS_MODAL = {  # rows of the fused projections, in the order of CrossModalAttention
    "from_target": ("Q_conv_target_target", "Q_conv_source_target", "K_conv_target_target", "V_conv_target_target"),
    "from_source": ("K_conv_source_target", "V_conv_source_target"),
    "out": ("out",),
}
_STEM = {  # position in the release's sequences, which count norm, activation and dropout
    "conv1": "conv_block.0",
    "norm_activation.activation": "conv_block.2",
    "conv2": "conv_block.4",
    "conv_skip": "conv_skip.0",
}
_RESIDUAL = {
    "activation1": "conv_block.1",
    "conv1": "conv_block.2",
    "activation2": "conv_block.5",
    "conv2": "conv_block.6",
    "activation_skip": "conv_skip.1",
    "conv_skip": "conv_skip.2",
}


def load_release(
    state_dict: Mapping[str, Tensor], window_size: tuple[int, ...] = (8, 8, 4), deep_supervision: bool = False
) -> H2ASeg:
    """Build H2ASeg from a state_dict of the authors' release and load every weight.

    Channels, classes and where attention sits are read off the weights. The release has 3D kernels and stride 2
    everywhere; channel 0 of the input is CT and channel 1 PET.

    Args:
        state_dict: The release's weights, of any floating-point type, which the network takes over.
        window_size: MCSA's windows, which no weight tells.
        deep_supervision: Return the logits of all stages; see Decoder.

    Raises:
        ValueError: If names or shapes are not those of a release; the message names them.
    """
    n_stages = max([int(m[1]) for m in map(re.compile(r"encoder\.conv(\d+)_ct\.").match, state_dict) if m], default=0)
    if n_stages < 2:
        raise ValueError(
            "This is no state_dict of the H2ASeg release: it has no encoder.conv1_ct.* and encoder.conv2_ct.*; "
            f"its names begin {sorted(state_dict)[:3]}."
        )
    stage_weights = [f"encoder.conv{stage}_ct.conv_skip.{0 if stage == 1 else 2}.weight" for stage in _stages(n_stages)]
    _require([*stage_weights, "decoder.output1.conv.2.weight"], state_dict)

    def interaction(stage: int) -> str:
        if f"encoder.sa{stage}.win_merge_ct.weight" in state_dict:
            return "mcsa"
        return "global" if any(name.startswith(f"encoder.sa{stage}.") for name in state_dict) else "none"

    network = H2ASeg(
        input_channels=2,
        n_stages=n_stages,
        features_per_stage=[len(state_dict[name]) for name in stage_weights],
        conv_op=nn.Conv3d,
        kernel_sizes=3,
        strides=2,
        num_classes=len(state_dict["decoder.output1.conv.2.weight"]),
        deep_supervision=deep_supervision,
        interactions=[interaction(stage) for stage in _stages(n_stages)],
        window_size=window_size,
    )
    names = release_names(network)
    _require([name for parts in names.values() for name in parts], state_dict, nothing_else=True)
    weights = network.state_dict()
    for name, expected in network.named_parameters():
        parts = []
        for part, rows in zip(names[name], _rows(network, name, expected), strict=True):
            shape, given = (rows, *expected.shape[1:]), state_dict[part]
            if given.shape not in (shape, (*shape, 1, 1, 1)):  # 1x1x1 convolutions there are linear layers here
                raise ValueError(
                    f"{part}: expected shape {shape}, found {tuple(given.shape)}. Merge extents follow from "
                    f"window_size={tuple(window_size)}: does it fit?"
                )
            parts.append(given.reshape(shape))
        weights[name] = torch.cat(parts)
    network.load_state_dict(weights, assign=True)
    return network


def release_names(network: H2ASeg) -> dict[str, list[str]]:
    """For each parameter of the network, the release's tensors that it joins along axis 0."""
    n_stages = len(network.encoder.stages)
    modules: dict[str, tuple[str, ...]] = {}
    for stage, encoder_stage in zip(_stages(n_stages), network.encoder.stages, strict=True):
        ours, theirs = f"encoder.stages.{stage - 1}", f"encoder.sa{stage}"
        for stream in ("ct", "pet"):
            for part, position in (_STEM if stage == 1 else _RESIDUAL).items():
                modules[f"{ours}.{stream}_block.{part}"] = (f"encoder.conv{stage}_{stream}.{position}",)
        if isinstance(encoder_stage.interaction, MCSA):
            for stream in ("ct", "pet"):
                modules[f"{ours}.interaction.between_windows.merge_{stream}"] = (f"{theirs}.win_merge_{stream}",)
                for i in (1, 2):
                    activation = f"{ours}.interaction.{stream}_activation{i}.activation"
                    modules[activation] = (f"{theirs}.IR_{stream}{i}.1",)
            modules |= _attention(f"{ours}.interaction.between_windows", f"{theirs}.inter_window_attention")
            modules |= _attention(f"{ours}.interaction.within_windows", f"{theirs}.intra_window_attention.sa")
        elif encoder_stage.interaction is not None:
            modules |= _attention(f"{ours}.interaction", theirs)
    for i, stage in enumerate(reversed(_stages(n_stages))):
        modules[f"decoder.seg_layers.{i}.activation"] = (f"decoder.output{stage}.conv.1",)
        modules[f"decoder.seg_layers.{i}.conv"] = (f"decoder.output{stage}.conv.2",)
        if stage == n_stages:
            continue  # the deepest stage has a head only
        ours = f"decoder.stages.{i - 1}"
        for part, position in _RESIDUAL.items():
            modules[f"{ours}.block.{part}"] = (f"decoder.conv{stage}.{position}",)
        for gains, attention in (("tumor_gains", "CA_fore"), ("background_gains", "CA_back")):
            for layer in ("fc1", "fc2"):
                modules[f"{ours}.tamw.{gains}.{layer}"] = (f"decoder.tamw{stage}.{attention}.{layer}",)

    def theirs_of(parameter: str) -> list[str]:
        module, _, kind = parameter.rpartition(".")
        return [f"{name}.{kind}" for name in modules[module]]

    return {parameter: theirs_of(parameter) for parameter, _ in network.named_parameters()}


def _attention(ours: str, theirs: str) -> dict[str, tuple[str, ...]]:
    return {
        f"{ours}.attention.{direction}.{projection}": tuple(f"{theirs}.{target}.{part}" for part in parts)
        for direction, target in (("ct_reads_pet", "sa_ct"), ("pet_reads_ct", "sa_pet"))
        for projection, parts in _CROSS_MODAL.items()
    }


def _rows(network: H2ASeg, parameter: str, value: Tensor) -> tuple[int, ...]:
    """Extents along axis 0 of the release's tensors that a parameter joins."""
    module, _, projection = parameter.removesuffix(".weight").rpartition(".")
    if projection in ("from_target", "from_source"):
        attention = network.get_submodule(module)
        assert isinstance(attention, CrossModalAttention)
        return attention.target_parts if projection == "from_target" else attention.source_parts
    return (len(value),)


def _stages(n_stages: int) -> range:
    return range(1, n_stages + 1)


def _require(names: list[str], state_dict: Mapping[str, Tensor], nothing_else: bool = False) -> None:
    missing = [name for name in names if name not in state_dict]
    unexpected = sorted(state_dict.keys() - set(names)) if nothing_else else []
    if missing or unexpected:
        raise ValueError(
            f"This is no complete state_dict of the H2ASeg release: missing {missing or 'nothing'}, "
            f"unexpected {unexpected or 'nothing'}."
        )
