"""Compiled training keeps as little for backward as the kernels of eager mode do."""

from contextlib import AbstractContextManager

import torch._functorch.config as partitioner

RULES = ("ban_recompute_materialized_backward", "ban_recompute_used_far_apart")
"""Rules by which PyTorch's partitioner keeps a map although it could be computed once more from another one."""


def recomputed_activations() -> AbstractContextManager:
    """What is compiled inside computes norms and activations once more in backward instead of keeping them.

    By its rules the partitioner keeps every map that a convolution's backward reads. In H2ASeg, where one map feeds two
    convolutions, that is more than nnU-Net's U-Net keeps; without these rules it is less than half of it.
    """
    return partitioner.patch({rule: False for rule in RULES if hasattr(partitioner, rule)})  # older torch has fewer
