"""Organ maps: which value means which organ, tumor volume per organ, and the liver's uptake."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.files import read_json
from h2aseg_nnunet.petct.images.lesions import voxel_volume_ml

Organs = dict[str, tuple[int, ...]]

TOTALSEGMENTATOR: Organs = {
    "spleen": (1,),
    "kidneys": (2, 3, 23, 24),
    "gallbladder": (4,),
    "liver": (5,),
    "stomach": (6,),
    "pancreas": (7,),
    "adrenal_glands": (8, 9),
    "lungs": tuple(range(10, 15)),
    "esophagus": (15,),
    "trachea": (16,),
    "thyroid": (17,),
    "bowel": (18, 19, 20),
    "urinary_bladder": (21,),
    "prostate": (22,),
    "spine": tuple(range(25, 51)),
    "heart": (51, 61),
    "vessels": tuple([*range(52, 61), *range(62, 69)]),
    "limbs_and_shoulders": tuple([*range(69, 77)]),
    "pelvis": (77, 78),
    "spinal_cord": (79,),
    "muscles": tuple(range(80, 90)),
    "brain": (90,),
    "skull": (91,),
    "thoracic_cage": tuple(range(92, 118)),
}
"""Of its task `total`, version 2; the bones of a region are one organ."""

MOOSE: Organs = {
    "adrenal_glands": (1, 2),
    "urinary_bladder": (3,),
    "brain": (4,),
    "gallbladder": (5,),
    "kidneys": (6, 7),
    "liver": (8,),
    "lungs": tuple(range(9, 14)),
    "pancreas": (14,),
    "spleen": (15,),
    "stomach": (16,),
    "thyroid": (17, 18),
    "trachea": (19,),
}
"""Of its model `clin_ct_organs`."""

KNOWN = {"totalsegmentator": TOTALSEGMENTATOR, "moose": MOOSE}

SPHERE_MM = 30.0
"""Diameter of the sphere in which PERCIST measures the liver."""


def read_organs(given: str) -> Organs:
    """Return the values of each organ.

    Args:
        given: "totalsegmentator", "moose", or a JSON file {organ: value}, as `labels` in nnU-Net's dataset.json.

    Raises:
        UserError: If the file is missing or of another form.
    """
    if given in KNOWN:
        return KNOWN[given]
    content = read_json(Path(given))
    labels = content.get("labels", content) if isinstance(content, Mapping) else None
    organs: Organs = {}
    for name, value in (labels or {}).items():
        values = value if isinstance(value, list) else [value]
        if not all(type(each) is int for each in values):
            raise UserError(f"{given}: {name} is {value!r}, expected is a whole number or a list of them.")
        if values != [0]:
            organs[str(name)] = tuple(values)
    if not organs:
        raise UserError(f"{given} names no organ; expected is {', '.join(KNOWN)}, or JSON such as {{'liver': 5}}.")
    return organs


def organ_volumes_ml(mask: NDArray, organs: NDArray, spacing_mm: Sequence[float], names: Organs) -> dict[str, float]:
    """Return the volume of a mask in each organ it touches; "elsewhere" is where the map names none.

    Args:
        mask: Mask in 2D or 3D.
        organs: Organ map on the same grid.
        spacing_mm: Size of the voxels in the order of the arrays' axes.
        names: The values of each organ.
    """
    values, counts = np.unique(organs[mask], return_counts=True)
    organ_of = {value: name for name, each in names.items() for value in each}
    volumes: dict[str, float] = {}
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        name = organ_of.get(value, "elsewhere")
        volumes[name] = volumes.get(name, 0.0) + count * voxel_volume_ml(spacing_mm)
    return volumes


def liver_threshold(suv: NDArray, liver: NDArray, spacing_mm: Sequence[float]) -> float:
    """Return 1.5 times the mean plus 2 standard deviations of a sphere of 3 cm, as deep in the liver as possible.

    The rule is PERCIST's, which means SUV by lean body mass; here it is of the SUV that is given. NaN without a liver.

    Args:
        suv: PET.
        liver: Mask of healthy liver on the same grid.
        spacing_mm: Size of the voxels in the order of the arrays' axes.

    Reference:
        Wahl et al., PERCIST 1.0, J Nucl Med 2009; 50 Suppl 1: 122S-150S.
    """
    inside = np.argwhere(liver)
    if not inside.size:
        return math.nan
    box = tuple(slice(int(low), int(high) + 1) for low, high in zip(inside.min(0), inside.max(0), strict=True))
    depth_mm = distance_transform_edt(np.pad(liver[box], 1), sampling=spacing_mm)[(slice(1, -1),) * liver.ndim]
    center = np.unravel_index(int(depth_mm.argmax()), depth_mm.shape)
    axes = np.ogrid[tuple(slice(0, size) for size in depth_mm.shape)]
    squared = [((axis - c) * mm) ** 2 for axis, c, mm in zip(axes, center, spacing_mm, strict=True)]
    sphere = (sum(squared[1:], squared[0]) <= (SPHERE_MM / 2) ** 2) & liver[box]
    uptake = suv[box][sphere].astype(np.float64)
    return float(1.5 * uptake.mean() + 2 * uptake.std())
