"""One module per family of protocols; each is a table of measures. Edge cases and sources: docs/evaluate.md."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.petct.evaluate.protocol import CaseArrays, MetricSettings, Protocol
from h2aseg_nnunet.petct.evaluate.protocols import autopet, clinical, deeppsma, hecktor, lesion

BY_NAME: dict[str, Protocol] = {
    **autopet.PROTOCOLS,
    **hecktor.PROTOCOLS,
    **deeppsma.PROTOCOLS,
    **lesion.PROTOCOLS,
    **clinical.PROTOCOLS,
}


def find_protocol(name: str) -> Protocol:
    """Return a protocol.

    Raises:
        ValueError: If there is none of this name.
    """
    if name not in BY_NAME:
        raise ValueError(f"metrics must be one of {', '.join(BY_NAME)}, not {name!r}.")
    return BY_NAME[name]


def measure(
    protocol: str,
    reference: NDArray,
    prediction: NDArray | Sequence[NDArray],
    spacing_mm: Sequence[float],
    suv: NDArray | None = None,
    **settings: Any,
) -> dict[str, float]:
    """Compute what a challenge does of one case; see docs/evaluate.md.

    Args:
        protocol: One of `PROTOCOLS`.
        reference: Label map in 2D or 3D; voxels that nobody judged are background in both maps.
        prediction: Label map on the same grid; for interactive protocols one per step.
        spacing_mm: Size of the voxels in the order of the arrays' axes.
        suv: PET in SUV on the same grid.
        **settings: Further attributes of `MetricSettings`.

    Returns:
        Values by name; undefined ones are NaN.

    Raises:
        ValueError: If the protocol is unknown, or the arrays or spacing_mm do not fit.
    """
    found = find_protocol(protocol)
    predictions = tuple(prediction) if found.steps else (np.asarray(prediction),)
    arrays = CaseArrays(np.asarray(reference), predictions, tuple(spacing_mm), suv)
    return found.measure(arrays, MetricSettings(protocol, **settings))
