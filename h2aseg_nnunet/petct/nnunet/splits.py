"""nnU-Net's splits_final.json: a list of folds, each with the names of its training and validation cases."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from nnunetv2.utilities.crossval_split import generate_crossval_split

from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.petct.files import read_json, write_json

EXPECTED = 'a list of folds {"train": ["case_1", ...], "val": ["case_2", ...]}'


class Fold(TypedDict):
    """One entry of splits_final.json."""

    train: list[str]
    val: list[str]


def read_splits(file: Path, cases: Collection[str] | None = None) -> list[Fold]:
    """Read the folds.

    Args:
        file: splits_final.json.
        cases: The cases that exist; None if they are not known.

    Raises:
        UserError: If the file is missing or of another form, or a fold names cases that do not exist.
    """
    splits = read_json(file)
    if not isinstance(splits, list) or not splits:
        raise UserError(f"{file} holds {_form(splits)}, expected is {EXPECTED}.")
    for number, fold in enumerate(splits):
        if not _is_fold(fold):
            raise UserError(f"{file}: fold {number} is {_form(fold)}, expected is {EXPECTED}.")
        unknown = [] if cases is None else [name for name in (*fold["train"], *fold["val"]) if name not in cases]
        if unknown:
            raise UserError(
                f"{file}: fold {number} names {listing(unknown)}, which the dataset does not hold. Correct the file, "
                "or remove it so that the cases are split anew."
            )
    return splits


def make_splits(file: Path, preprocessed: Path) -> None:
    """Split the cases as nnU-Net does when it finds no splits_final.json.

    Args:
        file: splits_final.json.
        preprocessed: Folder of the preprocessed cases of a configuration.
    """
    splits = generate_crossval_split(sorted(case_names(preprocessed)), seed=12345, n_splits=5)
    write_json(file, [{part: list(map(str, names)) for part, names in fold.items()} for fold in splits])


def case_names(preprocessed: Path) -> list[str]:
    """Return the names of the preprocessed cases in a configuration's folder."""
    return list(map(str, np.sort(list(infer_dataset_class(str(preprocessed)).get_identifiers(str(preprocessed))))))


def _is_fold(fold: Any) -> bool:
    if not isinstance(fold, dict):
        return False
    parts = [fold.get("train"), fold.get("val")]
    return all(isinstance(part, list) and all(isinstance(name, str) for name in part) for part in parts) and all(parts)


def _form(content: Any) -> str:
    """Describe JSON in a few words."""
    if isinstance(content, dict):
        return f"an object with {listing(list(content), 5)}" if content else "an empty object"
    if isinstance(content, list):
        return f"a list of {len(content)}" if content else "an empty list"
    return repr(content)
