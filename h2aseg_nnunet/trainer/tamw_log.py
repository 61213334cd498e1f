"""Mean TAMW gains of every epoch in nnU-Net's logger: a modality that the network stops using shows up early."""

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from nnunetv2.training.logging.nnunet_logger import MetaLogger
from torch import Tensor, nn

from h2aseg_nnunet.network.readings import MODALITIES, GainTally, StageGains, reading_decoder, unwrap


@torch.no_grad()
def measure_gains(network: nn.Module, data: Tensor, device: torch.device) -> list[StageGains]:
    """Measure mean gains over a batch by one forward pass; empty if the network was built without TAMW.

    The unwrapped network makes the pass: compiled code does not call hooks, and other ranks need not take part.

    Args:
        network: The trainer's network, in evaluation mode.
        data: A batch (b, c, *), on any device.
        device: Device of the network.
    """
    if not unwrap(network).decoder.has_tamw:
        return []
    tally = GainTally()
    with reading_decoder(network) as readings, torch.autocast("cuda") if device.type == "cuda" else nullcontext():
        unwrap(network)(data.to(device, non_blocking=True))
    tally.add(readings.tamw)
    return tally.means()


def log_gains(logger: MetaLogger, gains: Sequence[StageGains], epoch: int) -> None:
    """Log one value per stage, modality and place: `tamw/stage1_PET_tumor` is 0.2 if PET features are raised by 20 %.

    A training resumed from a checkpoint without these values has NaN for its earlier epochs.
    """
    history = logger.get_checkpoint()  # nnU-Net's logger takes values for lists only that it holds
    for each in gains:
        for modality in MODALITIES:
            for where in ("tumor", "background"):
                key = f"tamw/stage{each.stage}_{modality}_{where}"
                values = history.setdefault(key, [])
                values += [float("nan")] * (epoch - len(values))
                logger.log(key, getattr(each, where)[modality], epoch)


def as_line(gains: Sequence[StageGains]) -> str:
    """Return the training log's line: change of features in predicted tumor and in background."""
    if not gains:
        return "TAMW: none, the network was built without it"
    stages = [
        f"stage {each.stage} "
        + ", ".join(f"{name} {each.tumor[name]:+.1%} / {each.background[name]:+.1%}" for name in MODALITIES)
        for each in gains
    ]
    return f"TAMW in tumor / background: {'; '.join(stages)}"
