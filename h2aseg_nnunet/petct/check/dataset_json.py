"""What dataset.json declares, and what is wrong with it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.modalities import CT, PET, StreamChannels, assign_channels
from h2aseg_nnunet.petct.check.findings import Finding

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".gipl")
"""Of nnU-Net's formats those for volumes in physical space; pictures and TIFF have no place for spacing and origin."""

REQUIRED = ("channel_names", "labels", "numTraining", "file_ending")


class Declared(NamedTuple):
    """The part of dataset.json that files are checked against.

    Attributes:
        labels: All values, regions resolved, without the ignore label; empty if labels are not to be checked.
    """

    channels: StreamChannels
    num_channels: int
    file_ending: str
    labels: tuple[int, ...] = ()
    ignore: int | None = None


def read_dataset_json(file: Path) -> dict[str, Any]:
    """Raises ValueError if the file is missing or no JSON object."""
    if not file.is_file():
        raise UserError(f"{file} is missing: nnU-Net needs it to know the channels, labels and file ending.")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file} is not valid JSON: {error}. Correct it, or write it again.") from error
    if not isinstance(content, dict):
        raise UserError(f"{file} holds a {type(content).__name__}, expected was an object with {', '.join(REQUIRED)}.")
    return content


def check_dataset_json(content: dict[str, Any], file: Path, with_labels: bool) -> tuple[Declared | None, list[Finding]]:
    """What the file declares, or None if files cannot be checked against it."""
    findings = [
        _fault(file, f"no {key}", f"the keys {', '.join(REQUIRED)}", "Add it.")
        for key in REQUIRED
        if key not in content and (with_labels or key in ("channel_names", "file_ending"))
    ]
    if findings:
        return None, findings
    channels, faults = _channels(content["channel_names"], file)
    ending = content["file_ending"]
    if ending not in ENDINGS:
        remedy = "Correct the ending, or convert the images to .nii.gz."
        faults.append(_fault(file, f"file_ending {ending!r}", f"one of {', '.join(ENDINGS)}", remedy))
    labels, ignore, label_faults = _labels(content, file) if with_labels else ((), None, [])
    if channels is None or ending not in ENDINGS:
        return None, faults + label_faults
    return Declared(channels, len(content["channel_names"]), ending, labels, ignore), faults + label_faults


def check_num_training(content: dict[str, Any], found: int, file: Path) -> list[Finding]:
    expected = content["numTraining"]
    if expected == found:
        return []
    remedy = "Correct the number, or add what is missing; nnU-Net's integrity check stops here."
    return [_fault(file, f"numTraining is {expected}", f"{found}, the cases in imagesTr", remedy)]


def _fault(file: Path, found: str, expected: str, remedy: str) -> Finding:
    return Finding("error", "dataset-json", str(file), found, expected, remedy)


def _channels(names: Any, file: Path) -> tuple[StreamChannels | None, list[Finding]]:
    expected = '{"0": "CT", "1": "PET"}'
    remedy = "Write one name per channel, numbered from 0 without a gap."
    if not isinstance(names, dict) or sorted(names) != sorted(map(str, range(len(names)))):
        return None, [_fault(file, f"channel_names {names}", expected, remedy)]
    ordered = [str(names[str(channel)]) for channel in range(len(names))]
    if len(ordered) == 2 and _is_pet(ordered[CT]) and ordered[PET].upper() == "CT":
        remedy = "Rename the files so that 0000 is CT, and correct the names: H2ASeg takes channel 0 for CT."
        return None, [_fault(file, f"channel_names {names}: PET before CT", expected, remedy)]
    try:
        return assign_channels(_normalization(ordered), len(ordered)), []
    except ValueError as error:
        return None, [_fault(file, f"channel_names {names}", "CT and PET", str(error))]


def _is_pet(name: str) -> bool:
    return any(word in name.upper() for word in ("PET", "SUV", "FDG", "PSMA")) or name.upper() == "PT"


def _normalization(names: Sequence[str]) -> list[str]:
    from nnunetv2.preprocessing.normalization.map_channel_name_to_normalization import get_normalization_scheme

    return [get_normalization_scheme(name).__name__ for name in names]


def _labels(content: dict[str, Any], file: Path) -> tuple[tuple[int, ...], int | None, list[Finding]]:
    from nnunetv2.utilities.label_handling.label_handling import LabelManager  # imports torch

    expected, remedy = '{"background": 0, "tumor": 1, ...}', "Correct labels as nnU-Net's dataset format says."
    try:
        manager = LabelManager(content["labels"], content.get("regions_class_order"))
    except (AssertionError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        return (), None, [_fault(file, f"labels {content['labels']}: {error}", expected, remedy)]
    values = [int(value) for value in manager.all_labels]
    ignore = manager.ignore_label
    together = values if ignore is None else [*values, ignore]
    if together != list(range(len(together))):
        remedy = "Number the labels from 0 without a gap, in dataset.json and in the label maps."
        return tuple(values), ignore, [_fault(file, f"label values {together}", "0, 1, 2, ...", remedy)]
    return tuple(values), ignore, []
