"""The axes in which the training set of a dataset or model is stored."""

import itertools
from collections.abc import Iterable
from pathlib import Path

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.cases import ending_of
from h2aseg_nnunet.petct.files import read_own_json
from h2aseg_nnunet.petct.images.axes import most_common, read_axes
from h2aseg_nnunet.petct.nnunet.folders import find_raw_dataset

LOOKED_AT = 20
"""Images of a training set whose headers are read: most are enough to tell the axes that most have."""


def axes_of_training_set(dataset_json: Path) -> str | None:
    """Return the axes that most training images have; None if nothing tells them.

    Args:
        dataset_json: A raw dataset's, beside its imagesTr, or a trained model's. Beside the latter lie the predictions
            of its validation cases, or plans.json names the raw dataset.
    """
    folder = dataset_json.parent
    images = _images(folder.glob("imagesTr/*")) or _images(folder.glob("fold_*/validation/*"))
    if not images and (raw := _raw_dataset(folder)):
        images = _images(raw.glob("imagesTr/*"))
    return most_common(axes for file in images if (axes := read_axes(file)))


def turns_images(dataset_json: Path) -> bool:
    """Tell whether the reader that nnU-Net uses for a dataset or model turns all images to the same axes itself."""
    plans = dataset_json.parent / "plans.json"
    for file, key in ((dataset_json, "overwrite_image_reader_writer"), (plans, "image_reader_writer")):
        if str((read_own_json(file) or {}).get(key)).endswith("WithReorient"):
            return True
    return False


def _raw_dataset(model: Path) -> Path | None:
    name = (read_own_json(model / "plans.json") or {}).get("dataset_name")
    try:
        return find_raw_dataset(str(name)) if name else None
    except UserError:
        return None


def _images(files: Iterable[Path]) -> list[Path]:
    return list(
        itertools.islice((file for file in sorted(files) if ending_of(file.name) and file.is_file()), LOOKED_AT)
    )
