"""How far apart the lesions of a patient lie."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.spatial.distance import pdist

from h2aseg_nnunet.petct.images.lesions import Lesion


def dmax_mm(lesions: Sequence[Lesion], spacing_mm: Sequence[float]) -> float:
    """Return Dmax: the largest distance between the centers of two lesions; NaN with fewer than two.

    Args:
        lesions: Those of one mask.
        spacing_mm: Size of the voxels in the order of the centroids' axes.

    Reference:
        Cottereau et al., J Nucl Med 2020; 61(1): 40-45.
    """
    if len(lesions) < 2:
        return math.nan
    return float(pdist(np.array([lesion.centroid for lesion in lesions]) * np.asarray(spacing_mm)).max())
