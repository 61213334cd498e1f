"""What the package needs, in the versions that run here."""

import re
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement

from h2aseg_nnunet.errors import UserError

BROUGHT_BY_TORCH = re.compile(r"(pytorch-)?triton$|nvidia-|cuda-")
"""Libraries of torch's builds for CUDA."""

TORCH = ("torch", "torchvision")
"""Released together for each build, with CUDA or without: which one an image has is an argument of its build."""


def pinned(name: str) -> dict[str, str]:
    """Return the version of everything that an installed distribution needs, itself left out.

    Args:
        name: Name of the distribution; extras are left out.

    Returns:
        Versions by name, those of `TORCH` among them, but not what torch brings along. Local parts such as +cpu are
        left out.

    Raises:
        UserError: If a need is not installed.
    """
    versions: dict[str, str] = {}
    waiting = [name]
    while waiting:
        for text in distribution(waiting.pop()).requires or []:
            need = Requirement(text)
            key = re.sub(r"[-_.]+", "-", need.name).lower()
            if key in versions or (need.marker is not None and not need.marker.evaluate({"extra": ""})):
                continue
            if BROUGHT_BY_TORCH.match(key):
                continue
            try:
                versions[key] = distribution(need.name).version.partition("+")[0]
            except PackageNotFoundError as error:
                raise UserError(f"{need.name} is needed and not installed here: pip install {need.name}.") from error
            waiting.append(need.name)
    return dict(sorted(versions.items()))
