"""What a training step costs a GPU in eager mode, counted without one: kernels launched and bytes moved.

3D networks of few channels are bound by memory: the ratio of the bytes of two networks is about that of their times.
Every operation of PyTorch that computes counts as one kernel, which reads its inputs and writes its outputs once. Of
the project's own operations (network/kernels/ops.py) every launch and every pass over a map counts, statistics
included. Nothing is allocated. Half precision by autocast, as nnU-Net trains.
"""

import contextlib
import io
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from h2aseg_nnunet.network.kernels import as_on_a_gpu

UNET = "dynamic_network_architectures.architectures.unet."
WITHOUT_KERNEL = {
    *("device", "empty", "empty_like", "new_empty", "new_empty_strided", "empty_strided", "is_same_size", "detach"),
    *("alias", "lift_fresh", "_unsafe_view", "_reshape_alias", "split", "split_with_sizes", "unbind", "chunk"),
    "promote_types",
}


def _plan(patch: Sequence[int], batch_size: int, strides: Sequence[Sequence[int]], **changes: Any) -> dict[str, Any]:
    """A plan of nnU-Net's default widths for its U-Net, or given blocks per stage for that with a residual encoder."""
    dimension, n_stages = len(patch), len(strides)
    arguments = {
        "n_stages": n_stages,
        "features_per_stage": [min(32 * 2**stage, 320 if dimension == 3 else 512) for stage in range(n_stages)],
        "conv_op": f"torch.nn.modules.conv.Conv{dimension}d",
        "kernel_sizes": [[3] * dimension] * n_stages,
        "strides": strides,
        "n_conv_per_stage": [2] * n_stages,
        "n_conv_per_stage_decoder": [2] * (n_stages - 1),
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimension}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    } | changes
    network = "PlainConvUNet"
    if "n_blocks_per_stage" in arguments:
        network = "ResidualEncoderUNet"
        del arguments["n_conv_per_stage"]
    return {
        "patch_size": list(patch),
        "batch_size": batch_size,
        "data_identifier": "none",
        "preprocessor_name": "DefaultPreprocessor",
        "spacing": [1.0] * dimension,
        "normalization_schemes": ["CTNormalization", "ZScoreNormalization"],
        "use_mask_for_norm": [False] * 2,
        "architecture": {
            "network_class_name": UNET + network,
            "arch_kwargs": arguments,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }


ONCE, TWICE = [1, 1, 1], [2, 2, 2]
PLANS = {
    "default 3D": _plan((128, 128, 128), 2, [ONCE] + [TWICE] * 5),
    "ResEnc M": _plan(
        (128, 128, 128), 2, [ONCE] + [TWICE] * 5,
        n_blocks_per_stage=[1, 3, 4, 6, 6, 6], n_conv_per_stage_decoder=[1] * 5,
    ),
    "larger patch": _plan((160, 128, 112), 2, [ONCE] + [TWICE] * 4 + [[2, 2, 1]]),
    "anisotropic": _plan(
        (28, 256, 256), 2, [ONCE, [1, 2, 2], [1, 2, 2], TWICE, TWICE, [1, 2, 2], [1, 2, 2]],
        kernel_sizes=[[1, 3, 3]] * 2 + [[3, 3, 3]] * 5,
    ),
    "2D": _plan((512, 512), 12, [[1, 1]] + [[2, 2]] * 7),
}  # fmt: skip


class Traffic(TorchDispatchMode):
    """While active, counts kernels and bytes by operation."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.split("::")[-1]
        if name in OWN:
            kernels, moved = OWN[name](*args, result=result)
        elif func.is_view or name in WITHOUT_KERNEL:
            return result
        else:
            kernels, moved = 1, _size((args, kwargs, result))
        self.kernels[name] += kernels
        self.bytes[name] += moved
        return result


def count_traffic(build: Callable[[], nn.Module], shape: Sequence[int]) -> dict[str, int]:
    """Kernels and bytes of forward and of the whole step, with deep supervision and a loss that costs nothing."""
    forward, backward = Traffic(), Traffic()
    with as_on_a_gpu(), FakeTensorMode():
        network, x = build().train(), torch.empty(tuple(shape))
        with torch.autocast("cpu", dtype=torch.bfloat16), forward:
            loss = sum(logits.float().mean() for logits in network(x))
        with backward:
            loss.backward()
    return {
        "forward kernels": forward.kernels.total(),
        "forward bytes": forward.bytes.total(),
        "kernels": forward.kernels.total() + backward.kernels.total(),
        "bytes": forward.bytes.total() + backward.bytes.total(),
    }


def count_trainers(plan: str, trainers: Iterable[type[nnUNetTrainer]]) -> dict[str, dict[str, int]]:
    """Traffic of every trainer's network on one of PLANS, two classes, two input channels."""
    configuration = PLANS[plan]
    manager = PlansManager({"dataset_name": "none", "plans_name": "none", "configurations": {"c": configuration}})
    settings = (manager, manager.get_configuration("c"), 2, 2, True)
    shape = (configuration["batch_size"], 2, *configuration["patch_size"])
    found = {}
    for trainer in trainers:
        with contextlib.redirect_stdout(io.StringIO()):
            found[trainer.__name__] = count_traffic(lambda trainer=trainer: build(trainer, settings), shape)
    return found


def build(trainer: type[nnUNetTrainer], settings: tuple[Any, ...]) -> nn.Module:
    try:
        return trainer.build_network_architecture(*settings)
    except TypeError:  # nnU-Net's own has its earlier signature
        _, c, *others = settings
        plan = (c.network_arch_class_name, c.network_arch_init_kwargs, c.network_arch_init_kwargs_req_import)
        return trainer.build_network_architecture(*plan, *others)


def _size(tree: Any) -> int:
    return sum(leaf.numel() * leaf.element_size() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


def _norm_prelu(parts, tumor, w1, w0, slopes, outs, mean, inverse_std, again, result) -> tuple[int, int]:
    passes = 1 if again else 2
    return passes, passes * _size((parts, tumor)) + _size(outs)


def _norm_prelu_backward(gradients, parts, tumor, w1, w0, slopes, mean, inverse_std, result) -> tuple[int, int]:
    """Sums, their totals, then the gradients; of CT and PET by a kernel of their own, and the gains' totals."""
    return 3 if tumor is None else 5, 2 * _size((gradients, parts, tumor)) + _size(result)


def _means_by_share(maps, shares, spans, masked, result) -> tuple[int, int]:
    """A kernel for each map, and one for each share that divides the sums."""
    of_shares = sum(span * _size(share) for share, span in zip(shares, spans, strict=True))
    return len(maps) + len(shares), _size(maps) + of_shares


def _means_by_share_backward(
    gradients, means_gradient, maps, shares, spans, means, counts, of_shares, result
) -> tuple[int, int]:
    """A kernel for each map; all but the first of a share add to its gradient, if that is asked for."""
    read = sum(span * _size(share) for share, span in zip(shares, spans, strict=True))
    moved = _size((gradients, result[: len(maps)])) + read
    if of_shares:
        of_each = zip(result[len(maps) :], spans, strict=True)
        moved += _size(maps) + sum((2 * span - 1) * _size(of_share) for of_share, span in of_each)
    return len(maps), moved


OWN = {
    "norm_prelu": _norm_prelu,
    "norm_prelu_backward": _norm_prelu_backward,
    "means_by_share": _means_by_share,
    "means_by_share_backward": _means_by_share_backward,
}
