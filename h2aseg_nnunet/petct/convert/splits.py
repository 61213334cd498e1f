"""Cross-validation folds in which no patient is on both sides."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.convert.plan import Fold
from h2aseg_nnunet.petct.files import read_json

NUM_FOLDS = 5
SEED = 12345
"""nnU-Net's own."""


class Study(NamedTuple):
    """What the folds depend on: studies of a patient stay together, every fold gets its share of every stratum."""

    patient: str
    stratum: str


def read_folds(file: Path) -> list[Fold]:
    """Read a splits_final.json.

    Raises:
        UserError: If it is not JSON, or not a list of folds.
    """
    content = read_json(file)
    if not isinstance(content, list) or not all(map(_is_fold, content)):
        raise UserError(
            f'{file} does not hold folds; expected is a list [{{"train": ["case", ...], "val": ["case", ...]}}, ...]. '
            "Correct it, or move it away to have folds made."
        )
    return content


def _is_fold(content: Any) -> bool:
    return isinstance(content, dict) and all(
        isinstance(content.get(side), list) and all(isinstance(name, str) for name in content[side])
        for side in ("train", "val")
    )


def make_folds(studies: Mapping[str, Study], num_folds: int = NUM_FOLDS) -> list[Fold]:
    """Folds by patient, stratified as far as patients allow; the order of `studies` does not matter.

    With fewer patients than folds there is one fold per patient, with a single patient none.
    """
    names = sorted(studies)
    patients = [studies[name].patient for name in names]
    num_folds = min(num_folds, len(set(patients)))
    if num_folds < 2:
        return []
    strata = [studies[name].stratum for name in names]
    folds = _folds(names, patients, strata, num_folds)
    if folds is None:  # strata so small that a fold stayed empty
        folds = _folds(names, patients, [""] * len(names), num_folds)
    assert folds is not None
    return folds


def _folds(names: list[str], patients: list[str], strata: list[str], num_folds: int) -> list[Fold] | None:
    """None if the strata are too small for so many folds."""
    splitter = StratifiedGroupKFold(n_splits=num_folds, shuffle=True, random_state=SEED)
    _, codes, counts = np.unique(strata, return_inverse=True, return_counts=True)
    if counts.max() < num_folds:
        codes = np.zeros_like(codes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a stratum smaller than the number of folds: unavoidable
        indices = list(splitter.split(names, codes, patients))
    if any(len(val) == 0 for _, val in indices):
        return None
    return [{"train": [names[i] for i in train], "val": [names[i] for i in val]} for train, val in indices]


def choose_folds(studies: Mapping[str, Study], given: Sequence[Fold] | None) -> tuple[list[Fold], list[str]]:
    """The folds delivered with the data where they serve, else own ones, and what a user should know about them."""
    notes = []
    if given is not None:
        folds = [_restrict(fold, studies) for fold in given]
        fault = _fault(folds, studies)
        if fault is None:
            missing = set(studies) - {name for fold in folds for name in fold["val"]}
            notes = [f"{len(missing)} cases are in no validation set of the delivered folds"] if missing else []
            return folds, notes
        notes.append(f"the delivered folds are not used: {fault}")
    folds = make_folds(studies)
    if len(folds) < NUM_FOLDS:
        notes.append(_few_patients(len({study.patient for study in studies.values()})))
    return folds, notes


def _restrict(fold: Fold, names: Mapping[str, Study]) -> Fold:
    return {"train": [n for n in fold["train"] if n in names], "val": [n for n in fold["val"] if n in names]}


def _fault(folds: Sequence[Fold], studies: Mapping[str, Study]) -> str | None:
    if not folds or not all(fold["train"] and fold["val"] for fold in folds):
        return "without the cases that are not here, one of them has no training or no validation case"
    straddling = set()
    for fold in folds:
        train, val = ({studies[name].patient for name in fold[side]} for side in ("train", "val"))
        straddling |= train & val
    if straddling:
        return f"{len(straddling)} patients, for instance {min(straddling)}, are on both sides of a fold"
    return None


def _few_patients(patients: int) -> str:
    if patients == 0:
        return "no case has a reference, so there are no folds; imagesTs is ready for nnUNetv2_predict"
    if patients == 1:
        return "a single patient cannot be split, so there are no folds: train with fold 'all'"
    return f"{patients} patients give {patients} folds, one patient each; train folds 0 to {patients - 1} only"
