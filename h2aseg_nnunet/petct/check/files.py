"""Which files form the cases of a folder, and which are missing or astray. File names only, nothing is opened."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from h2aseg_nnunet.petct.cases import ending_of
from h2aseg_nnunet.petct.check.findings import Finding, Severity


class Case(NamedTuple):
    """Files of one case; channels in nnU-Net's order."""

    name: str
    images: tuple[Path, ...]
    label: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Images, then the label."""
        return self.images if self.label is None else (*self.images, self.label)


class FoundCases(NamedTuple):
    """The cases of a folder.

    Attributes:
        whole: Those all of whose images exist, in the order of their names.
        names: Those of which there is any file.
        findings: What is missing or astray.
    """

    whole: list[Case]
    names: list[str]
    findings: list[Finding]


def find_cases(image_dir: Path, label_dir: Path | None, num_channels: int, file_ending: str) -> FoundCases:
    """Find the cases of a folder by the names of files, dangling links included.

    Args:
        image_dir: nnU-Net's imagesTr, or a folder of inputs for prediction: `case_0000.nii.gz`, `case_0001.nii.gz`.
        label_dir: Where each case has its `case.nii.gz`; None if there are no labels.
        num_channels: Number of channels in dataset.json.
        file_ending: Ending of images and labels in dataset.json.
    """
    files = [file.name for file in sorted(image_dir.iterdir()) if not file.is_dir()]
    pattern = re.compile(rf"(?P<case>.+)_(?P<channel>\d{{4}}){re.escape(file_ending)}")
    matches = {name: match for name in files if (match := pattern.fullmatch(name))}
    findings = _astray(image_dir, [name for name in files if name not in matches], file_ending)
    names = sorted({match["case"] for match in matches.values()})
    whole = []
    for case in names:
        images = [image_dir / f"{case}_{channel:04d}{file_ending}" for channel in range(num_channels)]
        there = [image_dir / name for name, match in matches.items() if match["case"] == case]
        lacking = [missing(image, f"channel {i} of {case}", case) for i, image in enumerate(images) if lacks(image)]
        findings += lacking + _surplus_channels(case, there, images)
        label = label_dir / f"{case}{file_ending}" if label_dir else None
        if label and lacks(label):
            remedy = "Add the label, empty for a patient without lesions, or remove the images."
            findings.append(missing(label, "a label", case, remedy))
            label = None
        if not lacking:
            whole.append(Case(case, tuple(images), label))
    if not names:
        found, expected = "no image", f"files named case_0000{file_ending}, case_0001{file_ending}"
        remedy = "Name the files as nnU-Net does: case, channel in four digits, the file_ending of dataset.json."
        findings.append(Finding("error", "missing-file", str(image_dir), found, expected, remedy))
    if label_dir and label_dir.is_dir():
        findings += _labels_without_images(label_dir, set(names), file_ending)
    return FoundCases(whole, names, findings)


def lacks(file: Path) -> bool:
    """Whether a file is missing, a folder, or a link to nothing."""
    return not file.is_file()


def missing(file: Path, expected: str, case: str = "", remedy: str = "Add the file, or remove the case.") -> Finding:
    """Make the finding for a file that is missing, or a link to one that is."""
    found = "missing"
    if file.is_symlink() and not file.exists():
        found = f"a link to {file.readlink()}, which does not exist"
        remedy = "Fetch the file (git annex get), mount its disk, or correct the link: nnU-Net leaves the case out."
    return Finding("error", "missing-file", str(file), found, expected, remedy, case)


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
        if not taken and ending_of(name) is None:
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
