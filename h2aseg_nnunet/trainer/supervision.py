"""Deep supervision: how the losses of the stages are weighted, and at which resolution they are computed."""

from collections.abc import Sequence
from typing import Any

from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from torch import Tensor, nn

from h2aseg_nnunet.network.resize import resize


def halving_weights(n_stages: int) -> tuple[float, ...]:
    """Loss weights 1, 1/2, 1/4, ... from fine to coarse, normalized to sum 1."""
    weights = [0.5**stage for stage in range(n_stages)]
    return tuple(weight / sum(weights) for weight in weights)


def release_weights(n_stages: int) -> tuple[float, ...]:
    """Loss weights n, n-1, ..., 1 from fine to coarse: 5, 4, 3, 2, 1 for the published five stages."""
    return tuple(float(weight) for weight in range(n_stages, 0, -1))


def dice_of(loss: nn.Module) -> Any:
    """nnU-Net's soft Dice within its compound loss, whatever deep supervision and torch.compile wrap around it."""
    compound: Any = loss.loss if isinstance(loss, DeepSupervisionWrapper) else loss
    return getattr(compound.dc, "_orig_mod", compound.dc)


class FullResolutionSupervision(DeepSupervisionWrapper):
    """Compares every stage with the target at full resolution; nnU-Net compares at the stage's own.

    Shape:
        outputs: logits (b, num_classes, *) per stage, full resolution first.
        targets: (b, c, *) per stage, of which the first is used.
    """

    def forward(self, outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
        target, size = targets[0], outputs[0].shape[2:]
        return super().forward([resize(logits, size) for logits in outputs], [target] * len(outputs))
