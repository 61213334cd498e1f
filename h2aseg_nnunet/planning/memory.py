"""Memory of one training step, counted without data or GPU: it runs on tensors that have a size but no content."""

import weakref
from collections.abc import Callable, Sequence

import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from h2aseg_nnunet.network.kernels import as_on_a_gpu


class TensorMemory(TorchDispatchMode):
    """While active, counts the bytes of every tensor that an operation makes, until nothing refers to it any more.

    `allocated` is what is alive now, `peak` the most there ever was: torch.cuda.max_memory_allocated without an
    operation's inner workspace and the allocator's rounding. Works on real tensors and on fake ones.

    Args:
        limit: Bytes beyond which a MemoryError ends the run.
    """

    def __init__(self, limit: float = float("inf")) -> None:
        super().__init__()
        self.limit = limit
        self.allocated = 0
        self.peak = 0
        self._alive: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._add(leaf.untyped_storage())
        self.peak = max(self.peak, self.allocated)
        if self.peak > self.limit:
            raise MemoryError(f"More than {self.limit} bytes.")
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        """Views share a storage, which counts once."""
        address, size = storage._cdata, storage.nbytes()
        if address in self._alive:
            return

        def free(_: weakref.ref) -> None:
            del self._alive[address]
            self.allocated -= size

        self._alive[address] = weakref.ref(storage, free)
        self.allocated += size


def training_step_bytes(
    build_network: Callable[[], nn.Module],
    input_channels: int,
    patch_size: Sequence[int],
    batch_size: int,
    dtype: torch.dtype = torch.float16,
    limit: float = float("inf"),
    moments: int = 1,
) -> int:
    """Peak bytes of tensors in nnU-Net's training step: weights, moments, forward under autocast, loss and backward.

    Clipping and the optimizer come when the activations are gone. What `torch.compile` saves is not counted.

    Args:
        build_network: Function that makes the network, with deep supervision. It is called inside, so that the
            weights take no memory.
        input_channels: Channels of the batch.
        patch_size: Extents of the batch.
        batch_size: Samples of the batch.
        dtype: Type of autocast; float32 trains without it.
        limit: Bytes beyond which counting is not worth while.
        moments: Number of values that the optimizer keeps per weight: 1 for SGD with momentum, 2 for AdamW.

    Raises:
        MemoryError: If the step needs more than `limit`.
    """
    with as_on_a_gpu(), FakeTensorMode(), TensorMemory(limit) as memory:
        network = build_network().train()
        kept = [torch.empty_like(parameter) for parameter in network.parameters() for _ in range(moments)]
        loss = nnunet_loss(network, torch.empty(batch_size, input_channels, *patch_size), dtype)
        loss.backward()
        del kept
    return memory.peak


def nnunet_loss(network: nn.Module, image: Tensor, dtype: torch.dtype) -> Tensor:
    """nnU-Net's loss, summed over all outputs; the outputs themselves are gone at the end, as in its train_step.

    H2ASeg's trainers compare coarse outputs at full resolution, which leaves the peak as it is: those maps are gone
    when backward reaches the finest features (tests/integration/test_planning_memory.py).
    """
    dice_options = {"batch_dice": False, "smooth": 1e-5, "do_bg": False, "ddp": False}
    loss = DC_and_CE_loss(dice_options, {}, dice_class=MemoryEfficientSoftDiceLoss)
    # No fake CUDA tensors: backward would need the device. CPU autocast keeps the same tensors
    # (tests/integration/test_planning_memory.py).
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        logits = network(image)
        targets = [output.new_zeros(len(output), 1, *output.shape[2:], dtype=torch.float32) for output in logits]
        return sum(map(loss, logits, targets))
