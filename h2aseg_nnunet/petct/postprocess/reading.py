"""What a rule asks for of a case, read from files, and the rule applied to its mask."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.cases import ending_of
from h2aseg_nnunet.petct.evaluate.cases import EvaluatedCase
from h2aseg_nnunet.petct.evaluate.organs import liver_threshold, read_organs
from h2aseg_nnunet.petct.evaluate.read import read_organ_map, read_suv
from h2aseg_nnunet.petct.postprocess.apply import Ruled, apply_rule
from h2aseg_nnunet.petct.postprocess.regions import Predicted
from h2aseg_nnunet.petct.postprocess.rules import Rule
from h2aseg_nnunet.petct.postprocess.softmax import classes_if_tumor, read_tumor_probability, require_of_mask


def read_predicted(
    case: EvaluatedCase, mask: SimpleITK.Image, file: Path, rule: Rule, regions: bool, organ_labels: str
) -> Predicted:
    """Read what a rule asks for of a case.

    Args:
        case: Names PET and organ map.
        mask: The model's label map.
        file: Its file, beside which its probabilities are.
        rule: The rule.
        regions: Whether probabilities are those of regions.
        organ_labels: Who made the organ maps.

    Raises:
        UserError: If a file cannot be read, or is not on the mask's grid.
    """
    tumor = SimpleITK.GetArrayFromImage(mask) != 0
    probability, suv, liver_suv = None, None, math.nan
    spacing_mm = mask.GetSpacing()[::-1]
    if rule.needs_probability:
        probability = read_tumor_probability(softmax_file(file), regions)
        require_of_mask(probability, tumor, softmax_file(file), file)
    if rule.needs_suv and case.pet is not None:
        suv = read_suv(case.pet, file, mask)
    if rule.needs_liver and case.organs is not None and suv is not None:
        liver_suv = liver_of(case.organs, mask, suv, tumor, organ_labels)
    return Predicted(tumor, spacing_mm, suv, probability, liver_suv)


def liver_of(organs: Path, mask: SimpleITK.Image, suv: NDArray, tumor: NDArray[np.bool_], organ_labels: str) -> float:
    """Return PERCIST's threshold from the liver outside the predicted tumor.

    Raises:
        UserError: If the map cannot be read, or shows no liver.
    """
    values = read_organs(organ_labels).get("liver", ())
    liver = np.isin(read_organ_map(organs, mask), values) & ~tumor
    threshold = liver_threshold(suv, liver, mask.GetSpacing()[::-1])
    if np.isnan(threshold):
        raise UserError(f"{organs} shows no liver (value {values}), from which the rule takes its threshold.")
    return threshold


def softmax_file(mask_file: Path) -> Path:
    """Return where nnU-Net saves the probabilities of a mask."""
    return mask_file.with_name(f"{mask_file.name.removesuffix(ending_of(mask_file.name) or '')}.npz")


def classes_of(
    rule: Rule,
    labels: NDArray,
    content: Mapping[str, Any],
    classes: Mapping[str, tuple[int, ...]],
    probabilities: Callable[[], NDArray],
) -> NDArray | None:
    """Return the class of each voxel, should it be tumor; None where the nearest voxel of the mask decides.

    Args:
        rule: The rule.
        labels: Voxels of the mask.
        content: Content of the model's dataset.json.
        classes: Values of the classes or regions that it declares.
        probabilities: Returns those of all classes or regions, if they are needed.
    """
    if len(classes) == 1:
        (values,) = classes.values()
        return np.broadcast_to(labels.dtype.type(values[0]), labels.shape)
    if rule.outline.kind != "probability":
        return None
    return classes_if_tumor(probabilities(), content, rule.outline.value)


def apply_to_image(
    rule: Rule, mask: SimpleITK.Image, case: Predicted, classes: NDArray | None
) -> tuple[SimpleITK.Image, Ruled]:
    """Apply a rule to a mask; see `apply_rule`."""
    ruled = apply_rule(rule, SimpleITK.GetArrayFromImage(mask), case, classes)
    image = SimpleITK.GetImageFromArray(ruled.labels)
    image.CopyInformation(mask)
    return image, ruled
