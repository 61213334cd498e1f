"""Checks a whole folder: names, then every case in parallel, then what only shows between the cases."""

from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.check.between import check_axes, check_duplicates, check_unused_labels
from h2aseg_nnunet.petct.check.case import CaseResult, check_case
from h2aseg_nnunet.petct.check.clipping import check_clipping
from h2aseg_nnunet.petct.check.files import Case, FoundCases, find_cases, lacks, missing
from h2aseg_nnunet.petct.check.findings import Finding, Outcome
from h2aseg_nnunet.petct.check.training_axes import axes_of_training_set, turns_images
from h2aseg_nnunet.petct.images.axes import most_common
from h2aseg_nnunet.petct.nnunet import dataset_json
from h2aseg_nnunet.petct.nnunet.dataset_json import PLAIN, Dataset, find_dataset_json, read_dataset_json
from h2aseg_nnunet.petct.nnunet.folders import find_raw_dataset
from h2aseg_nnunet.petct.parallel import in_parallel

DEFAULT_PROCESSES = 4


def check_raw_dataset(dataset: str, num_processes: int = DEFAULT_PROCESSES) -> Outcome:
    """Look over an nnU-Net raw dataset: dataset.json, imagesTr with labelsTr, and imagesTs where there is one.

    Args:
        dataset: Its number or its name, in nnUNet_raw.
        num_processes: Cases that are read at a time.

    Raises:
        UserError: If there is no such dataset, or its dataset.json is missing or no JSON.
    """
    root = find_raw_dataset(dataset)
    description = root / dataset_json.NAME
    content = read_dataset_json(description)
    declared, findings = _parse(content, description, with_labels=True)
    if declared is None:
        return Outcome(root, 0, findings)
    training, test = _training_cases(root, content, declared), _test_cases(root, declared)
    findings += training.findings + test.findings
    cases = training.whole + test.whole
    results = _check_cases(cases, declared, num_processes)
    of_training = results[: len(training.whole)]
    findings += [finding for result in results for finding in result.findings]
    findings += check_duplicates(cases, results) + check_unused_labels(declared, of_training, description)
    uptakes = {case.name: result.lesion_uptake for case, result in zip(training.whole, of_training, strict=True)}
    findings += check_clipping(root, content, declared.channels.pet, uptakes)
    if not turns_images(description):
        findings += check_axes(cases, results, most_common(result.axes for result in of_training if result.axes))
    return Outcome(root, len(cases), findings)


def check_inputs(
    folder: str | Path, description: str | Path | None = None, num_processes: int = DEFAULT_PROCESSES
) -> Outcome:
    """Look over a folder of inputs for prediction.

    Args:
        folder: `case_0000.nii.gz`, `case_0001.nii.gz` ...
        description: The model's dataset.json. By default the one in `folder` or in its parent; without any, CT and PET
            as .nii.gz.
        num_processes: Cases that are read at a time.

    Raises:
        UserError: If the folder or `description` does not exist.
    """
    root = Path(folder).absolute()
    if not root.is_dir():
        raise UserError(f"{root} is no folder. Give the folder of the images, case_0000.nii.gz, case_0001.nii.gz ...")
    file = Path(description).absolute() if description else find_dataset_json(root)
    declared, findings = _parse(read_dataset_json(file), file, with_labels=False) if file else (PLAIN, [])
    if declared is None:
        return Outcome(root, 0, findings)
    found = find_cases(root, None, declared.num_channels, declared.file_ending)
    results = _check_cases(found.whole, declared, num_processes)
    findings += found.findings + [finding for result in results for finding in result.findings]
    findings += check_duplicates(found.whole, results)
    if file and turns_images(file):
        return Outcome(root, len(found.whole), findings)
    axes = axes_of_training_set(file) if file else None
    here = most_common(result.axes for result in results if result.axes)
    findings += check_axes(found.whole, results, axes or here, "of the training set" if axes else "of most cases")
    return Outcome(root, len(found.whole), findings)


def _parse(content: dict[str, Any], file: Path, with_labels: bool) -> tuple[Dataset | None, list[Finding]]:
    """What dataset.json declares, None if files cannot be checked against it, and what is wrong with it."""
    declared, faults = dataset_json.parse(content, with_labels)
    if with_labels and "numTraining" not in content:
        faults = [*faults, dataset_json.Fault("no numTraining", "the number of training cases", "Add it.")]
    findings = [
        Finding("error", "dataset-json", str(file), fault.found, fault.expected, fault.remedy) for fault in faults
    ]
    return declared, findings


def _training_cases(root: Path, content: dict[str, Any], declared: Dataset) -> FoundCases:
    if "dataset" in content:
        found = _listed_cases(root, content, declared.num_channels)
    elif not (root / "imagesTr").is_dir():
        return FoundCases([], [], [missing(root / "imagesTr", "a folder", remedy="Put the training images there.")])
    else:
        found = find_cases(root / "imagesTr", root / "labelsTr", declared.num_channels, declared.file_ending)
    if content.get("numTraining", len(found.names)) != len(found.names):
        remedy = "Correct the number, or add what is missing; nnU-Net's integrity check stops here."
        wrong, expected = f"numTraining is {content['numTraining']}", f"{len(found.names)}, the cases in imagesTr"
        found.findings.append(Finding("error", "dataset-json", str(root / dataset_json.NAME), wrong, expected, remedy))
    return found


def _test_cases(root: Path, declared: Dataset) -> FoundCases:
    images, labels = root / "imagesTs", root / "labelsTs"
    if images.is_symlink() and not images.exists():
        return FoundCases([], [], [missing(images, "a folder")])
    if not images.is_dir() or not any(images.iterdir()):
        return FoundCases([], [], [])
    return find_cases(images, labels if labels.is_dir() else None, declared.num_channels, declared.file_ending)


def _listed_cases(root: Path, content: dict[str, Any], num_channels: int) -> FoundCases:
    """Cases whose files dataset.json names one by one."""
    from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

    found = FoundCases([], [], [])
    for name, files in get_filenames_of_train_images_and_targets(str(root), content).items():
        case = Case(name, tuple(map(Path, files["images"])), Path(files["label"]))
        found.names.append(name)
        remedy = "Correct the path in dataset.json, or remove the case."
        lacking = [missing(file, "a file", name, remedy) for file in case.files if lacks(file)]
        found.findings.extend(lacking)
        if len(case.images) != num_channels:
            what = f"{len(case.images)} images for {name}"
            expected = f"{num_channels}, as many as channel_names"
            file = str(root / dataset_json.NAME)
            found.findings.append(Finding("error", "dataset-json", file, what, expected, remedy, name))
        elif not lacking:
            found.whole.append(case)
    return found


def _check_cases(cases: list[Case], declared: Dataset, num_processes: int) -> list[CaseResult]:
    """The results in the order of the cases."""
    results = {}
    with tqdm(total=len(cases), desc="Checking", unit="case") as progress:
        for case, result in in_parallel(partial(check_case, dataset=declared), cases, num_processes, lost=_lost):
            results[case] = result
            progress.update()
    return [results[case] for case in cases]


def _lost(case: Case, why: str) -> CaseResult:
    remedy = "Give the workers more memory, or look at the size of the images."
    finding = Finding("error", "not-checked", str(case.images[0]), why, "a result", remedy, case.name)
    return CaseResult([finding], {}, set(), "")
