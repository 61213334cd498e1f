"""What nnU-Net's dataset.json declares: channels, labels and the ending of files. Every command reads it here."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.modalities import CT, PET, StreamChannels, assign_channels
from h2aseg_nnunet.petct.cases import DATASET_ENDINGS
from h2aseg_nnunet.petct.files import read_json
from h2aseg_nnunet.petct.labels import Declared, Labels

NAME = "dataset.json"
REQUIRED = ("channel_names", "labels", "numTraining", "file_ending")


class Fault(NamedTuple):
    """Something wrong in dataset.json.

    Attributes:
        found: What the file says.
        expected: Completes "expected ...".
        remedy: What to do, as a sentence.
    """

    found: str
    expected: str
    remedy: str


class Dataset(NamedTuple):
    """What dataset.json declares.

    Attributes:
        channels: The channels of each modality.
        num_channels: Number of images of a case.
        file_ending: Ending of images and label maps.
        labels: The values of label maps; None if they were not to be read.
    """

    channels: StreamChannels
    num_channels: int
    file_ending: str
    labels: Labels | None = None


PLAIN = Dataset(StreamChannels((CT,), (PET,)), 2, ".nii.gz")
"""Images that come without a description: CT and PET as .nii.gz."""


def read_dataset_json(file: Path) -> dict[str, Any]:
    """Read the file.

    Raises:
        UserError: If it is missing or not a JSON object.
    """
    if not file.is_file():
        raise UserError(f"{file} is missing: nnU-Net needs it to know the channels, labels and file ending.")
    content = read_json(file)
    if not isinstance(content, dict):
        raise UserError(f"{file} holds a {type(content).__name__}, expected was an object with {', '.join(REQUIRED)}.")
    return content


def read_dataset(file: Path) -> Dataset:
    """Read what the file declares.

    Raises:
        UserError: If something is wrong with it.
    """
    dataset, faults = parse(read_dataset_json(file))
    for fault in faults:
        raise UserError(f"{file}: {fault.found}; expected {fault.expected}. {fault.remedy}")
    assert dataset is not None
    return dataset


def find_dataset_json(folder: Path) -> Path | None:
    """Return the dataset.json that describes the images or masks in a folder; None if there is none.

    It lies beside them (predictions), one level above (imagesTr, labelsTr, gt_segmentations), or two levels above (the
    validation folder of a fold). Files that are not in nnU-Net v2's format are passed over.
    """
    for place in dict.fromkeys((folder.absolute(), folder.resolve())):  # a link, and what it leads to
        above = [place.parent, *([place.parent.parent] if place.name == "validation" else [])]
        for file in (each / NAME for each in (place, *above)):
            if file.is_file() and not _is_version_1(file):
                return file
    return None


def read_labels(file: Path) -> Labels:
    """Read the labels that the file declares; nothing else in it matters.

    Raises:
        UserError: If they are missing or wrong.
    """
    content = read_dataset_json(file)
    labels, faults = (None, [Fault("no labels", '{"background": 0, "tumor": 1, ...}', "Add them.")])
    if "labels" in content:
        labels, faults = _labels(content)
    for fault in faults:
        raise UserError(f"{file}: {fault.found}; expected {fault.expected}. {fault.remedy}")
    assert labels is not None
    return labels


def declared_by(file: Path) -> Declared:
    """Return the values that masks may hold by a dataset.json.

    Raises:
        UserError: If its labels are missing or wrong.
    """
    return Declared(read_labels(file), str(file))


def declared_beside(folder: Path) -> Declared | None:
    """Return the values that the masks in a folder may hold, by the dataset.json that describes it; None without one.

    Raises:
        UserError: If its labels are missing or wrong.
    """
    file = find_dataset_json(folder)
    return None if file is None else declared_by(file)


def parse(content: Mapping[str, Any], with_labels: bool = True) -> tuple[Dataset | None, list[Fault]]:
    """Return what the content declares, None if files cannot be read by it, and everything that is wrong."""
    needed = ("channel_names", "labels", "file_ending") if with_labels else ("channel_names", "file_ending")
    faults = [Fault(f"no {key}", f"the keys {', '.join(REQUIRED)}", "Add it.") for key in needed if key not in content]
    if faults:
        return None, faults
    channels, faults = _channels(content["channel_names"])
    ending = content["file_ending"]
    if ending not in DATASET_ENDINGS:
        remedy = "Correct the ending, or convert the images to .nii.gz."
        faults.append(Fault(f"file_ending {ending!r}", f"one of {', '.join(DATASET_ENDINGS)}", remedy))
    labels, label_faults = _labels(content) if with_labels else (None, [])
    if channels is None or ending not in DATASET_ENDINGS:
        return None, faults + label_faults
    return Dataset(channels, len(content["channel_names"]), ending, labels), faults + label_faults


def _channels(names: Any) -> tuple[StreamChannels | None, list[Fault]]:
    expected = '{"0": "CT", "1": "PET"}'
    if not isinstance(names, dict) or sorted(names) != sorted(map(str, range(len(names)))):
        remedy = "Write one name per channel, numbered from 0 without a gap."
        return None, [Fault(f"channel_names {names}", expected, remedy)]
    ordered = [str(names[str(channel)]) for channel in range(len(names))]
    if len(ordered) == 2 and _is_pet(ordered[CT]) and ordered[PET].upper() == "CT":
        remedy = "Rename the files so that 0000 is CT, and correct the names: H2ASeg takes channel 0 for CT."
        return None, [Fault(f"channel_names {names}: PET before CT", expected, remedy)]
    try:
        return assign_channels(_normalization(ordered), len(ordered)), []
    except ValueError as error:
        return None, [Fault(f"channel_names {names}", "CT and PET", str(error))]


def pet_channel(content: Mapping[str, Any]) -> int:
    """Return the channel that holds the PET, of several the first.

    It is channel 1 unless the names tell otherwise: by them it is the one that is called PET, or not called CT.
    nnU-Net's own AutoPET calls both CT.

    Args:
        content: Content of a dataset.json; it need not be one that H2ASeg can be trained on.
    """
    names = {int(channel): str(name) for channel, name in content.get("channel_names", {}).items()}
    called_pet = sorted(channel for channel in names if _is_pet(names[channel]))
    not_called_ct = sorted(channel for channel in names if names[channel].upper() != "CT")
    channels = called_pet or not_called_ct or sorted(names)
    return PET if PET in channels or not channels else channels[0]


def _is_version_1(file: Path) -> bool:
    """Whether the file is of nnU-Net v1 or the Medical Segmentation Decathlon: {"0": "background", "1": "tumor"}."""
    labels = read_dataset_json(file).get("labels")
    return isinstance(labels, dict) and "0" in labels


def _is_pet(name: str) -> bool:
    return any(word in name.upper() for word in ("PET", "SUV", "FDG", "PSMA")) or name.upper() == "PT"


def _normalization(names: Sequence[str]) -> list[str]:
    from nnunetv2.preprocessing.normalization.map_channel_name_to_normalization import get_normalization_scheme

    return [get_normalization_scheme(name).__name__ for name in names]


def _labels(content: Mapping[str, Any]) -> tuple[Labels | None, list[Fault]]:
    plain = _plain_labels(content["labels"])
    if plain is not None:
        return plain, []
    from nnunetv2.utilities.label_handling.label_handling import LabelManager  # imports torch

    expected, remedy = '{"background": 0, "tumor": 1, ...}', "Correct labels as nnU-Net's dataset format says."
    try:
        manager = LabelManager(content["labels"], content.get("regions_class_order"))
        values = tuple(int(value) for value in manager.all_labels)
        classes = {
            name: _values(value) for name, value in content["labels"].items() if name not in ("background", "ignore")
        }
    except (AssertionError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        return None, [Fault(f"labels {content['labels']}: {error}", expected, remedy)]
    labels = Labels(values, classes, manager.ignore_label)
    together = [*values, *([] if labels.ignore is None else [labels.ignore])]
    if together != list(range(len(together))):
        remedy = "Number the labels from 0 without a gap, in dataset.json and in the label maps."
        return labels, [Fault(f"label values {together}", "0, 1, 2, ...", remedy)]
    return labels, []


def _plain_labels(labels: Any) -> Labels | None:
    """Return labels that are one number per class; None if nnU-Net has to judge them.

    nnU-Net's LabelManager gives the same and imports torch, for which a command that only reads masks would wait.
    """
    if not isinstance(labels, dict) or not all(type(value) is int for value in labels.values()):
        return None
    ordered = sorted(labels.items(), key=lambda item: item[1])
    names = [name for name, _ in ordered]
    if [value for _, value in ordered] != list(range(len(ordered))) or names[:1] != ["background"]:
        return None
    if "ignore" in names[:-1]:
        return None
    ignore = len(names) - 1 if names[-1] == "ignore" else None
    values = tuple(range(len(names) if ignore is None else ignore))
    return Labels(values, {name: (labels[name],) for name in labels if name not in ("background", "ignore")}, ignore)


def _values(value: int | list[int]) -> tuple[int, ...]:
    return tuple(map(int, value)) if isinstance(value, list | tuple) else (int(value),)
