"""What dataset.json says about the images: which channels are CT and PET, and which labels form a class."""

import json
from pathlib import Path
from typing import NamedTuple

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.modalities import CT_NORMALIZATION, assign_channels


class Dataset(NamedTuple):
    """What is needed to find and read the files of a case.

    Attributes:
        file_ending: Of images, references and predictions.
        ct, pet: Channel numbers; of several CT or PET channels, the first.
        classes: The label values of each class or region, by its name.
        ignore_label: The value of voxels that nobody judged.
    """

    file_ending: str
    ct: int
    pet: int
    classes: dict[str, tuple[int, ...]]
    ignore_label: int | None = None


def find_dataset_json(predictions: Path, images: Path) -> Path:
    """The description that nnU-Net leaves beside its predictions, else the dataset's own.

    Raises:
        UserError: If there is neither.
    """
    candidates = [predictions / "dataset.json", images.parent / "dataset.json"]
    for file in candidates:
        if file.is_file():
            return file
    raise UserError(f"Neither {candidates[0]} nor {candidates[1]} exists: name the file with --dataset_json.")


def read_dataset(file: Path) -> Dataset:
    """Read dataset.json, as nnU-Net defines it: classes, regions (several values) and the ignore label.

    Raises:
        UserError: If a key is missing or malformed, or there are no two modalities.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        channels, labels = content["channel_names"], content["labels"]
        schemes = [CT_NORMALIZATION if channels[str(i)].lower() == "ct" else "" for i in range(len(channels))]
        values = {name: _values(value) for name, value in labels.items() if name not in ("background", "ignore")}
        dataset = Dataset(content["file_ending"], 0, 0, values, labels.get("ignore"))
    except KeyError as error:
        raise UserError(f"{file} has no {error}, which nnU-Net's dataset.json needs.") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is not a dataset.json of nnU-Net: {error}.") from error
    if not values:
        raise UserError(f"{file} names no class beside the background: there is nothing to show.")
    streams = assign_channels(schemes, len(schemes))
    return dataset._replace(ct=streams.ct[0], pet=streams.pet[0])


def _values(value: int | list[int]) -> tuple[int, ...]:
    return tuple(map(int, value)) if isinstance(value, list) else (int(value),)
