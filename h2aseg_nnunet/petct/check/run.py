"""Checks a whole folder: names, then every case in parallel, then what only shows between the cases."""

from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.check.case import CaseResult, check_case
from h2aseg_nnunet.petct.check.dataset_json import Declared, check_dataset_json, check_num_training, read_dataset_json
from h2aseg_nnunet.petct.check.files import NAMES_IN_A_MESSAGE, Case, cases_in
from h2aseg_nnunet.petct.check.findings import Finding, Outcome, Severity
from h2aseg_nnunet.petct.parallel import in_parallel

DEFAULT_PROCESSES = 4
DESCRIPTION = "dataset.json"
PLAIN = {"channel_names": {"0": "CT", "1": "PET"}, "file_ending": ".nii.gz"}  # inputs that come without description


def check_raw_dataset(dataset: str, num_processes: int = DEFAULT_PROCESSES) -> Outcome:
    """Look over an nnU-Net raw dataset: dataset.json, imagesTr with labelsTr, and imagesTs where there is one.

    Args:
        dataset: Its number or its name, in nnUNet_raw.
        num_processes: Cases that are read at a time.

    Raises:
        UserError: If there is no such dataset, or its dataset.json is missing or no JSON.
    """
    root = raw_dataset(dataset)
    content = read_dataset_json(root / DESCRIPTION)
    declared, findings = check_dataset_json(content, root / DESCRIPTION, with_labels=True)
    if declared is None:
        return Outcome(root, 0, findings)
    cases, faults = _training_cases(root, content, declared)
    findings += faults
    num_training = len(cases)
    if (root / "imagesTs").is_dir() and any((root / "imagesTs").iterdir()):
        labels = root / "labelsTs"
        test_cases, faults = cases_in(
            root / "imagesTs", labels if labels.is_dir() else None, declared.num_channels, declared.file_ending
        )
        cases += test_cases
        findings += faults
    results = _check_cases(cases, declared, num_processes)
    findings += [finding for result in results for finding in result.findings]
    findings += _between_cases(cases, results) + _unused_labels(declared, results[:num_training], root)
    return Outcome(root, len(cases), findings)


def check_inputs(
    folder: str | Path, dataset_json: str | None = None, num_processes: int = DEFAULT_PROCESSES
) -> Outcome:
    """Look over a folder of inputs for prediction.

    Args:
        folder: `case_0000.nii.gz`, `case_0001.nii.gz` ...
        dataset_json: Of the model. By default the one in `folder` or in its parent; without any, CT and PET as .nii.gz.
        num_processes: Cases that are read at a time.

    Raises:
        UserError: If the folder or `dataset_json` does not exist.
    """
    root = Path(folder).absolute()
    if not root.is_dir():
        raise UserError(f"{root} is no folder. Give the folder of the images, case_0000.nii.gz, case_0001.nii.gz ...")
    candidates = [Path(dataset_json)] if dataset_json else [root / DESCRIPTION, root.parent / DESCRIPTION]
    file = next((file for file in candidates if dataset_json or file.is_file()), None)
    content = read_dataset_json(file) if file else PLAIN
    declared, findings = check_dataset_json(content, file or root, with_labels=False)
    if declared is None:
        return Outcome(root, 0, findings)
    cases, faults = cases_in(root, None, declared.num_channels, declared.file_ending)
    results = _check_cases(cases, declared, num_processes)
    findings += faults + [finding for result in results for finding in result.findings]
    return Outcome(root, len(cases), findings + _between_cases(cases, results))


def raw_dataset(dataset: str) -> Path:
    """The folder of a raw dataset, by number or name.

    Raises:
        UserError: If nnUNet_raw is not set, or does not hold exactly one such dataset.
    """
    from nnunetv2.paths import nnUNet_raw

    if not nnUNet_raw.get():
        raise UserError("nnUNet_raw is not set. Name nnU-Net's folder of raw datasets: export nnUNet_raw=/path/to/it")
    raw = Path(nnUNet_raw.require()).absolute()
    pattern = f"Dataset{int(dataset):03d}_*" if dataset.isdecimal() else dataset
    found = sorted(folder for folder in raw.glob(pattern) if folder.is_dir()) if dataset else []
    if len(found) != 1:
        names = ", ".join(folder.name for folder in found) or "none"
        raise UserError(f"{raw} should hold one dataset {pattern}, but there is {names}. Give -d a number or a name.")
    return found[0]


def _training_cases(root: Path, content: dict[str, Any], declared: Declared) -> tuple[list[Case], list[Finding]]:
    if "dataset" in content:
        cases, findings = _listed_cases(root, content, declared.num_channels)
    elif not (root / "imagesTr").is_dir():
        remedy = "Put the training images there."
        return [], [Finding("error", "missing-file", str(root / "imagesTr"), "missing", "a folder", remedy)]
    else:
        cases, findings = cases_in(root / "imagesTr", root / "labelsTr", declared.num_channels, declared.file_ending)
    if not findings:  # otherwise the number is wrong for a reason that is already told
        findings = check_num_training(content, len(cases), root / DESCRIPTION)
    return cases, findings


def _listed_cases(root: Path, content: dict[str, Any], num_channels: int) -> tuple[list[Case], list[Finding]]:
    """Cases whose files dataset.json names one by one."""
    from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

    cases, findings = [], []
    for name, files in get_filenames_of_train_images_and_targets(str(root), content).items():
        case = Case(name, tuple(map(Path, files["images"])), Path(files["label"]))
        missing = [file for file in (*case.images, case.label) if file is not None and not file.is_file()]
        remedy = "Correct the path in dataset.json, or remove the case."
        findings += [Finding("error", "missing-file", str(file), "missing", "a file", remedy, name) for file in missing]
        if len(case.images) != num_channels:
            found = f"{len(case.images)} images for {name}"
            expected = f"{num_channels}, as many as channel_names"
            findings.append(Finding("error", "dataset-json", str(root / DESCRIPTION), found, expected, remedy, name))
        elif not missing:
            cases.append(case)
    return cases, findings


def _check_cases(cases: list[Case], declared: Declared, num_processes: int) -> list[CaseResult]:
    """The results in the order of the cases."""
    results = {}
    with tqdm(total=len(cases), desc="Checking", unit="case") as progress:
        for case, result in in_parallel(partial(check_case, declared=declared), cases, num_processes):
            results[case] = result
            progress.update()
    return [results[case] for case in cases]


def _between_cases(cases: list[Case], results: list[CaseResult]) -> list[Finding]:
    """The same voxels under several names: one patient in training and validation, or a file copied over another."""
    files = defaultdict(list)
    constant = {f.file for result in results for f in result.findings if f.check == "constant"}
    for case, result in zip(cases, results, strict=True):
        for file, digest in result.digests.items():
            if file not in constant:
                files[digest].append((file, case.name))
    findings = []
    for (file, name), *others in files.values():
        for other, other_name in others:
            same_case = name == other_name
            severity: Severity = "error" if same_case else "warning"
            found = f"the same voxels as {Path(file).parent.name}/{Path(file).name}"
            expected = "another modality" if same_case else "another patient or study"
            remedy = "Put the right file in its place" + (
                "." if same_case else ", or remove one: equal cases must not be in training and validation or test."
            )
            findings.append(Finding(severity, "duplicate", other, found, expected, remedy, other_name))
    return findings


def _unused_labels(declared: Declared, results: list[CaseResult], root: Path) -> list[Finding]:
    present = set().union(*(result.labels for result in results)) if results else set()
    unused = [value for value in declared.labels if value not in present and value != 0]
    if not unused or not present:
        return []
    found = f"label {', '.join(map(str, unused[:NAMES_IN_A_MESSAGE]))} occurs in none of {len(results)} training cases"
    remedy = "Correct the label maps, or remove the label: nothing can be learnt of it."
    return [Finding("warning", "label-unused", str(root / DESCRIPTION), found, "declared labels to occur", remedy)]
