"""Where the time goes, beside the floor: what this machine needs for the arithmetic and for moving the data once.

Every operation takes at least its FLOP over the machine's rate and at least its bytes over the machine's bandwidth,
inputs read once and outputs written once. Both ceilings are measured, not taken from a data sheet.
"""

import time
from collections import defaultdict
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

KINDS = {  # the first that an operation's name contains
    "convolution": ("convolution",),
    "attention and projections": ("attention", "mm", "softmax"),
    "norm": ("norm",),
    "interpolation": ("upsample",),
    "PReLU": ("prelu", "leaky_relu"),
    "layout and copies": ("copy", "clone", "cat", "constant_pad", "fill", "zero", "empty", "new_"),
}
OTHER = "elementwise and sums"


class OperationCosts(TorchDispatchMode):
    """While active, collects seconds, FLOP and bytes of every operation that touches data, by kind.

    `floor_s` adds up, over operations, the larger of FLOP / rate and bytes / bandwidth. On a GPU every operation is
    waited for: shares are right, the sum is longer than the run.
    """

    def __init__(self, flop_per_s: float, bytes_per_s: float):
        super().__init__()
        self.flop_per_s = flop_per_s
        self.bytes_per_s = bytes_per_s
        self.by_kind: dict[str, dict[str, float]] = defaultdict(
            lambda: {"seconds": 0.0, "flop": 0.0, "bytes": 0.0, "floor_s": 0.0, "operations": 0}
        )

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        start = time.perf_counter()
        result = func(*args, **kwargs)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        if not (func.is_view or func.namespace == "prim"):
            flop = flop_registry.get(func.overloadpacket)
            self._add(
                kind_of(func.overloadpacket.__name__),
                seconds,
                flop(*args, **kwargs, out_val=result) if flop else 0,
                _bytes([*tree_leaves((args, kwargs)), *tree_leaves(result)]),
            )
        return result

    def _add(self, kind: str, seconds: float, flop: float, moved: float) -> None:
        costs = self.by_kind[kind]
        costs["seconds"] += seconds
        costs["flop"] += flop
        costs["bytes"] += moved
        costs["floor_s"] += max(flop / self.flop_per_s, moved / self.bytes_per_s)
        costs["operations"] += 1


def kind_of(operation: str) -> str:
    return next((kind for kind, parts in KINDS.items() if any(part in operation for part in parts)), OTHER)


def _bytes(leaves: list) -> int:
    """Of distinct tensors: an operation in place reads and writes one."""
    return sum({id(leaf): leaf.numel() * leaf.element_size() for leaf in leaves if isinstance(leaf, Tensor)}.values())


def machine_ceilings(device: str = "cpu", size: int = 2048, repeats: int = 5) -> dict[str, float]:
    """FLOP per second of a large matrix product, and bytes per second (read plus written) of a large copy."""
    a, b = torch.randn(size, size, device=device), torch.randn(size, size, device=device)
    source = torch.randn(2**26, device=device)  # 256 MiB, beyond any cache
    target = torch.empty_like(source)
    return {
        "flop_per_s": 2 * size**3 / _fastest(lambda: a @ b, repeats),
        "bytes_per_s": 2 * source.numel() * source.element_size() / _fastest(lambda: target.copy_(source), repeats),
    }


def _fastest(run: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats + 1):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def measure_floor(network: nn.Module, run: Callable[[], None], ceilings: dict[str, float]) -> dict[str, dict]:
    """Costs of one call of `run` by kind, after a warm-up."""
    run()
    with OperationCosts(**ceilings) as costs:
        run()
    return {kind: dict(sums) for kind, sums in sorted(costs.by_kind.items(), key=lambda item: -item[1]["seconds"])}
