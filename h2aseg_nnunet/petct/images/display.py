"""Values to pixels: PET in inverted grey, CT in a soft-tissue window, and both fused."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CT_WINDOW_HU = (-160.0, 240.0)
"""Soft tissue: level 40, width 400."""

UPTAKE_OPACITY = 0.7
"""Of the hottest PET over CT: anatomy stays visible below."""


def pet_grey(suv: NDArray, max_suv: float) -> NDArray[np.uint8]:
    """White without uptake, black from max_suv on."""
    return _bytes(1 - suv / max_suv)


def ct_grey(hu: NDArray) -> NDArray[np.uint8]:
    """Black at the window's lower end and below, white at its upper end and above."""
    low, high = CT_WINDOW_HU
    return _bytes((hu - np.float32(low)) / (high - low))


def fused(hu: NDArray, suv: NDArray, max_suv: float) -> NDArray[np.uint8]:
    """CT with the PET in hot metal colours over it, the more opaque the higher the uptake; (..., 3)."""
    uptake = np.clip(suv / max_suv, 0, 1)[..., None]
    opacity = UPTAKE_OPACITY * np.clip(2 * uptake, 0, 1)  # lesions of a few SUV must show
    return _bytes((1 - opacity) * (ct_grey(hu)[..., None] / 255) + opacity * hot_metal(uptake))


def hot_metal(value: NDArray) -> NDArray:
    """Black, red, yellow, white for 0 to 1; the last axis, of length 1, becomes the three colours."""
    return np.clip(3 * value - np.arange(3), 0, 1)


def png_uri(pixels: NDArray[np.uint8]) -> str:
    """Lossless, for inclusion in a page."""
    return _uri(pixels, "png", optimize=True)


def jpeg_uri(pixels: NDArray[np.uint8]) -> str:
    """For pictures that serve orientation: a fifth of a PNG's size where CT is noisy."""
    return _uri(pixels, "jpeg", quality=88, subsampling=0)


def _bytes(values: NDArray) -> NDArray[np.uint8]:
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _uri(pixels: NDArray[np.uint8], kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
