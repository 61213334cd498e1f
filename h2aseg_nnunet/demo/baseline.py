"""What a fixed SUV threshold can do: the baseline that a network must beat."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.petct.evaluate.metrics import dice


def best_suv_threshold(cases: Iterable[tuple[NDArray, NDArray]], thresholds: Sequence[float]) -> float:
    """Choose the best of the thresholds for these cases, so that the baseline is as strong as a fixed one can be.

    Args:
        cases: PET in SUV and the lesion mask of each case; cases without lesions do not count.
        thresholds: Candidates, in SUV; voxels of at least that SUV are predicted as lesion.

    Returns:
        The threshold of highest mean Dice, the first of equals.

    Raises:
        ValueError: If no case has a lesion, or no threshold is given.
    """
    scores = [
        [dice(lesions, pet_suv >= threshold) for threshold in thresholds] for pet_suv, lesions in cases if lesions.any()
    ]
    if not scores or not scores[0]:
        raise ValueError(f"No case with a lesion among the cases, or thresholds is empty: {list(thresholds)}.")
    return float(thresholds[int(np.argmax(np.mean(scores, axis=0)))])
