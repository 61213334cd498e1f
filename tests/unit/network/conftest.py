from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from h2aseg_nnunet.network.h2aseg import H2ASeg
from tests.locations import DATA

REFERENCE_FILE = DATA / "h2aseg_reference.npz"


@pytest.fixture
def make_two_stages() -> Callable[..., H2ASeg]:
    """Build H2ASeg for 8 x 8 x 8 voxels whose streams interact at the second of two stages."""

    def make(interaction: str, **settings: bool) -> H2ASeg:
        return H2ASeg(
            2, 2, [8, 16], nn.Conv3d, 3, 2, 2, patch_size=(8, 8, 8), interactions=["none", interaction],
            window_size=(2, 2, 2), **settings,
        )  # fmt: skip

    return make


class Reference:
    """What the authors' release computed; arrays by name, see the keys used below."""

    def __init__(self, arrays: dict[str, np.ndarray]):
        self.arrays = arrays

    def __getitem__(self, name: str) -> torch.Tensor:
        return torch.from_numpy(self.arrays[name])

    def group(self, prefix: str, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        """Every array below the prefix, by the rest of its name."""
        return {name[len(prefix) :]: self[name].to(dtype) for name in self.arrays if name.startswith(prefix)}

    @property
    def window_size(self) -> tuple[int, ...]:
        return tuple(self.arrays["config/window_size"].tolist())

    def image(self, dtype: torch.dtype) -> torch.Tensor:
        return torch.cat([self["input/ct"], self["input/pet"]], dim=1).to(dtype)


@pytest.fixture(scope="session")
def reference() -> Reference:
    with np.load(REFERENCE_FILE) as file:
        return Reference(dict(file))
