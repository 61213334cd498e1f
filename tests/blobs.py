"""A blob whose place is known, and where a blob is."""

import numpy as np
import torch


def center_of_mass(image: torch.Tensor) -> np.ndarray:
    positions = torch.meshgrid(*[torch.arange(float(n)) for n in image.shape], indexing="ij")
    return np.array([((image * each).sum() / image.sum()).item() for each in positions])


def blob(size, position) -> torch.Tensor:
    """Gaussian with a standard deviation of one voxel."""
    positions = torch.meshgrid(*[torch.arange(float(n)) for n in size], indexing="ij")
    return torch.exp(-0.5 * sum((each - p) ** 2 for each, p in zip(positions, position, strict=True)))
