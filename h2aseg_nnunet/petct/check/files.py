"""Which files form the cases of a folder, and which are missing or astray. File names only, nothing is opened."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from h2aseg_nnunet.petct.check.findings import Finding, Severity

NAMES_IN_A_MESSAGE = 5


class Case(NamedTuple):
    """Files of one case; channels in nnU-Net's order."""

    name: str
    images: tuple[Path, ...]
    label: Path | None = None


def cases_in(
    image_dir: Path, label_dir: Path | None, num_channels: int, file_ending: str
) -> tuple[list[Case], list[Finding]]:
    """Cases all of whose channels exist, in the order of their names.

    Args:
        image_dir: nnU-Net's imagesTr, or a folder of inputs for prediction: `case_0000.nii.gz`, `case_0001.nii.gz`.
        label_dir: Where each case has its `case.nii.gz`; None if there are no labels.
        num_channels: As in dataset.json.
        file_ending: As in dataset.json.
    """
    names = [file.name for file in sorted(image_dir.iterdir()) if file.is_file()]
    pattern = re.compile(rf"(?P<case>.+)_(?P<channel>\d{{4}}){re.escape(file_ending)}")
    matches = {name: match for name in names if (match := pattern.fullmatch(name))}
    findings = _astray(image_dir, [name for name in names if name not in matches], file_ending)
    cases = []
    for case in sorted({match["case"] for match in matches.values()}):
        images = [image_dir / f"{case}_{channel:04d}{file_ending}" for channel in range(num_channels)]
        there = [image_dir / name for name, match in matches.items() if match["case"] == case]
        findings += _missing_channels(case, images) + _surplus_channels(case, there, images)
        label = label_dir / f"{case}{file_ending}" if label_dir else None
        if label and not label.is_file():
            remedy = "Add the label, empty for a patient without lesions, or remove the images."
            findings.append(Finding("error", "missing-file", str(label), "missing", "a label", remedy, case))
            label = None
        if all(image.is_file() for image in images):
            cases.append(Case(case, tuple(images), label))
    if not matches:
        found, expected = "no image", f"files named case_0000{file_ending}, case_0001{file_ending}"
        remedy = "Name the files as nnU-Net does: case, channel in four digits, the file_ending of dataset.json."
        findings.append(Finding("error", "missing-file", str(image_dir), found, expected, remedy))
    if label_dir and label_dir.is_dir():
        findings += _labels_without_images(label_dir, {match["case"] for match in matches.values()}, file_ending)
    return cases, findings


def _missing_channels(case: str, images: Iterable[Path]) -> list[Finding]:
    remedy = "Add the file, or remove the case."
    return [
        Finding("error", "missing-file", str(image), "missing", f"channel {channel} of {case}", remedy, case)
        for channel, image in enumerate(images)
        if not image.is_file()
    ]


def _surplus_channels(case: str, there: Iterable[Path], images: list[Path]) -> list[Finding]:
    expected = f"channels 0000 to {len(images) - 1:04d}, as many as channel_names in dataset.json"
    remedy = "Remove the file, or declare its channel."
    return [
        Finding("error", "surplus-file", str(file), "a surplus channel", expected, remedy, case)
        for file in there
        if file not in images
    ]


def _astray(image_dir: Path, names: list[str], file_ending: str) -> list[Finding]:
    """Image files that nnU-Net passes over, or takes for a case of a truncated name."""
    findings = []
    for name in names:
        taken = name.endswith(file_ending)
        if not taken and not name.lower().endswith((".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".gipl")):
            continue
        found = "name without a four-digit channel" if taken else "another file ending"
        severity: Severity = "error" if taken else "warning"
        expected, remedy = f"case_0000{file_ending}", "Rename, convert or remove the file."
        findings.append(Finding(severity, "file-name", str(image_dir / name), found, expected, remedy))
    return findings


def _labels_without_images(label_dir: Path, cases: set[str], file_ending: str) -> list[Finding]:
    labels = {
        file.name.removesuffix(file_ending): file for file in label_dir.iterdir() if file.name.endswith(file_ending)
    }
    return [
        Finding("warning", "surplus-file", str(labels[name]), "a label without images", "images of its case",
                "Add the images or remove the label.", name)
        for name in sorted(labels.keys() - cases)
    ]  # fmt: skip
