"""What a network costs: parameters, bytes kept for backward, FLOP, time and peak memory.

The deterministic figures are counted on tensors that have a size but no content (FakeTensorMode): within seconds,
and to the byte what a real run keeps (tests/integration/test_cost.py).
"""

import gc
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

BuildNetwork = Callable[[], nn.Module]


def count_parameters(build: BuildNetwork) -> int:
    with FakeTensorMode():
        return sum(parameter.numel() for parameter in build().parameters())


def bytes_saved_for_backward(network: nn.Module, x: Tensor) -> Counter[str]:
    """Bytes of the distinct storages that autograd keeps after a forward pass, parameters excluded, by module.

    A storage counts for the innermost module that was the first to save it. Works on real and on fake tensors.
    """
    parameters = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    saved: dict[int, Tensor] = {}  # holds the tensors, so that no address is used twice
    by_module: Counter[str] = Counter()

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in parameters and storage._cdata not in saved:
            saved[storage._cdata] = tensor
            by_module[running[-1]] += storage.nbytes()
        return tensor

    with _running_modules(network) as running, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = network(x)
    del output  # alive until here: a graph that is gone has nothing saved
    return by_module


@contextmanager
def _running_modules(network: nn.Module) -> Iterator[list[str]]:
    """Names of the modules whose forward is running, outermost first.

    By hooks on all modules there are: hooks on the network's own would have it compute its plain formulas.
    """
    running, names = ["(network)"], {module: name for name, module in network.named_modules() if name}

    def enter(module: nn.Module, *_: object) -> None:
        if module in names:
            running.append(names[module])

    def leave(module: nn.Module, *_: object) -> None:
        if module in names:
            running.pop()

    before = nn.modules.module.register_module_forward_pre_hook(enter)
    after = nn.modules.module.register_module_forward_hook(leave, always_call=True)
    try:
        yield running
    finally:
        before.remove()
        after.remove()


def count_saved(build: BuildNetwork, shape: tuple[int, ...]) -> Counter[str]:
    """bytes_saved_for_backward of a training-mode forward pass on an input of `shape`, in float32."""
    with FakeTensorMode():
        return bytes_saved_for_backward(build().train(), torch.empty(shape))


def count_flop(build: BuildNetwork, shape: tuple[int, ...]) -> Counter[str]:
    """FLOP of a forward pass, by module; `(network)` is the sum. A multiply-add counts as two."""
    with FakeTensorMode(), FlopCounterMode(display=False) as counter:
        network = build().eval()
        with torch.no_grad():
            network(torch.empty(shape))
    flop = Counter({"(network)": counter.get_total_flops()})
    for name, operations in counter.get_flop_counts().items():
        _, _, module = name.partition(".")
        if module:
            flop[module] = sum(operations.values())
    return flop


def count_step_flop(build: BuildNetwork, shape: tuple[int, ...]) -> int:
    """FLOP of forward and backward together, what backward computes once more included."""
    with FakeTensorMode(), FlopCounterMode(display=False) as counter:
        training_step(build().train(), torch.empty(shape))
    return counter.get_total_flops()


def training_step(network: nn.Module, x: Tensor) -> None:
    """Forward, cross-entropy on every output and backward; gradients of an earlier step are dropped first."""
    network.zero_grad(set_to_none=True)
    outputs = network(x)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    zeros = [torch.zeros(len(y), *y.shape[2:], dtype=torch.long, device=y.device) for y in outputs]
    sum(map(F.cross_entropy, outputs, zeros)).backward()


@torch.no_grad()
def forward(network: nn.Module, x: Tensor) -> None:
    network(x)


def time_side_by_side(
    runs: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1
) -> dict[str, list[float]]:
    """Seconds of every run, `rounds` of each, one after the other in turn: what slows the machine slows them all."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in tqdm(range(-warm_up, rounds), desc=f"timing {len(runs)} runs", unit="round", leave=False):
        for name, run in runs.items():
            _synchronize()
            start = time.perf_counter()
            run()
            _synchronize()
            if round_ >= 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def summarize(seconds: list[float]) -> dict[str, float]:
    return {
        "median": statistics.median(seconds),
        "min": min(seconds),
        "max": max(seconds),
        "rounds": len(seconds),
    }


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_rss_bytes(build: BuildNetwork, shape: tuple[int, ...]) -> int:
    """Growth of the resident memory's peak by training steps on the CPU, measured in a process of its own (Linux only).

    Linux only; `build` must be picklable. Two steps, because the first also loads and sets up what later ones reuse.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_peak_rss, build, shape).result()


def _peak_rss(build: BuildNetwork, shape: tuple[int, ...]) -> int:
    training_step(nn.Conv3d(2, 2, 3), torch.randn(1, 2, 8, 8, 8))  # libraries are loaded
    network, x = build().train(), torch.randn(shape)
    gc.collect()
    before = _process_status("VmRSS")
    training_step(network, x)
    training_step(network, x)
    return _process_status("VmHWM") - before


def _process_status(entry: str) -> int:
    """Bytes, from Linux. Not getrusage: a new process inherits the peak of the one that started it."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(entry))
    return int(line.split()[1]) * 1024
