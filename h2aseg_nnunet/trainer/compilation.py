"""Compiled training keeps as little for backward as the kernels of eager mode do."""

from contextlib import AbstractContextManager, nullcontext

import torch._functorch.config as partitioner

SETTING = "ban_recompute_materialized_backward"


def recomputed_activations() -> AbstractContextManager:
    """What is compiled inside computes norms and activations once more in backward instead of keeping them.

    By default the partitioner keeps every map that a convolution's backward reads: with H2ASeg's residual blocks, whose
    map feeds two convolutions, that is more than nnU-Net's U-Net keeps; without this rule it is two thirds of it.
    """
    if not hasattr(partitioner, SETTING):  # an older torch
        return nullcontext()
    return partitioner.patch({SETTING: False})
