"""nnU-Net's three folders, and the datasets in them by number or name."""

from pathlib import Path
from typing import Any

from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw, nnUNet_results
from nnunetv2.utilities.dataset_name_id_conversion import find_candidate_datasets, maybe_convert_to_dataset_name

from h2aseg_nnunet.errors import UserError

MEANINGS = {
    "nnUNet_raw": "raw datasets",
    "nnUNet_preprocessed": "preprocessed datasets",
    "nnUNet_results": "trained models",
}


def raw_root() -> Path:
    """Return nnUNet_raw.

    Raises:
        UserError: If it is not set.
    """
    return _root("nnUNet_raw", nnUNet_raw)


def preprocessed_root() -> Path:
    """Return nnUNet_preprocessed.

    Raises:
        UserError: If it is not set.
    """
    return _root("nnUNet_preprocessed", nnUNet_preprocessed)


def results_root() -> Path:
    """Return nnUNet_results.

    Raises:
        UserError: If it is not set.
    """
    return _root("nnUNet_results", nnUNet_results)


def find_raw_dataset(dataset: str) -> Path:
    """Return the folder of a raw dataset, by number or name.

    Raises:
        UserError: If nnUNet_raw is not set, or does not hold exactly one such dataset.
    """
    raw = raw_root()
    pattern = f"Dataset{int(dataset):03d}_*" if dataset.isdecimal() else dataset
    found = sorted(folder for folder in raw.glob(pattern) if folder.is_dir()) if dataset else []
    if len(found) != 1:
        names = ", ".join(folder.name for folder in found) or "none"
        raise UserError(f"{raw} should hold one dataset {pattern}, but there is {names}. Give -d a number or a name.")
    return found[0]


def new_raw_dataset(dataset_id: int, name: str) -> Path:
    """Return the folder nnUNet_raw/DatasetXXX_name, which need not exist.

    Raises:
        UserError: If nnUNet_raw is not set, or nnU-Net knows another dataset of this number.
    """
    raw, dataset = raw_root(), f"Dataset{dataset_id:03d}_{name}"
    others = sorted({str(other) for other in find_candidate_datasets(dataset_id)} - {dataset})
    if others:
        raise UserError(f"nnU-Net already has {others[0]}; give {dataset} another number with -d.")
    return raw / dataset


def preprocessed_splits(dataset: str) -> Path | None:
    """Return where training looks for the folds of a dataset; None if nnUNet_preprocessed is not set."""
    return preprocessed_root() / dataset / "splits_final.json" if nnUNet_preprocessed.get() else None


def dataset_name(dataset: str) -> str:
    """Return the name of a dataset given by its number or name.

    Raises:
        UserError: If nnU-Net knows none, its folders are not set, or it is neither a number nor a name.
    """
    preprocessed_root()
    try:
        return str(maybe_convert_to_dataset_name(dataset))
    except (RuntimeError, ValueError) as error:
        raise UserError(f"-d {dataset}: {' '.join(str(error).split())}") from error


def _root(variable: str, folder: Any) -> Path:  # nnU-Net's class of paths is private
    if not folder.get():
        raise UserError(
            f"{variable} is not set. Name nnU-Net's folder of {MEANINGS[variable]}: export {variable}=/path/to/it"
        )
    return Path(folder.require()).absolute()
