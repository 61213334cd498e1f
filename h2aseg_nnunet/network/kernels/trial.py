"""A trial of the Triton kernels on a card before they are used there: a driver or a Triton may not suit each other."""

import warnings
from functools import cache

import torch
from torch import Tensor

from h2aseg_nnunet.network.kernels import ops  # noqa: F401, registers torch.ops.h2aseg


@cache
def kernels_work_on(device: torch.device) -> bool:
    """Whether the kernels run on a device and give the formulas' numbers on a small map; warns if they do not.

    Tried once per process and device, in a second or two.
    """
    if not torch.cuda.is_available():
        return True  # only tensors without content can be here
    try:
        given = [each.cpu() for each in _run(device)]
    except Exception as error:  # whatever compiler or driver raise: the plain formulas always run
        return _refuse(device, f"they do not run ({type(error).__name__}: {error})")
    expected = _run(torch.device("cpu"))
    if not all(torch.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in zip(given, expected, strict=True)):
        return _refuse(device, "their numbers differ from the formulas'")
    return True


def _refuse(device: torch.device, why: str) -> bool:
    text = "H2ASeg computes by its plain formulas, which take more time and memory than its kernels"
    warnings.warn(f"On {device} {text}: {why}.", stacklevel=2)
    return False


@torch.no_grad()
def _run(device: torch.device) -> list[Tensor]:
    """Every operation of ops.py once, weighed and not, with slices as outputs and gradients."""
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    parts = [noise(2, channels, 4, 5, 60) for channels in (2, 2, 3)]
    share, w1, w0, of_means = noise(2, 1, 4, 5, 60).sigmoid(), noise(2, 7), noise(2, 7), noise(2, 2, 7)
    slopes = [torch.tensor([0.2 + 0.1 * i]).to(device) for i in range(6)]
    maps = [noise(2, part.shape[1] + 2, 4, 5, 60)[:, 1:-1] for part in (*parts, *parts)]
    run, found = torch.ops.h2aseg, []
    for weighing in ((share, w1, w0), (None, None, None)):
        outs, statistics = [each.clone() for each in maps], [noise(2, 7), noise(2, 7)]
        run.norm_prelu(parts, *weighing, slopes, outs, *statistics, False)
        found += [*outs, *statistics, *run.norm_prelu_backward(maps, parts, *weighing, slopes, *statistics)]
    shares, spans = [share, share * 0.5], [2, 1]
    for masked in (True, False):
        means, counts = run.means_by_share(parts, shares, spans, masked)
        found += [means, counts]
        found += run.means_by_share_backward(
            maps[:3], of_means, parts, shares, spans, means if masked else None, counts, masked
        )
    return found
