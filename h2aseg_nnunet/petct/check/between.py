"""What only shows between the cases of a folder: copies, other axes, labels that nobody has."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from h2aseg_nnunet.petct.check.case import CaseResult
from h2aseg_nnunet.petct.check.files import Case
from h2aseg_nnunet.petct.check.findings import Finding, Severity
from h2aseg_nnunet.petct.nnunet.dataset_json import Dataset

LABELS_IN_A_MESSAGE = 5


def check_duplicates(cases: Sequence[Case], results: Sequence[CaseResult]) -> list[Finding]:
    """Find the same voxels under several names: a patient in training and validation, or a file copied over another."""
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


def check_axes(
    cases: Sequence[Case], results: Sequence[CaseResult], expected: str | None, whose: str = "of most training cases"
) -> list[Finding]:
    """Find cases that are stored with other axes than the training set.

    Args:
        cases: The cases.
        results: Their results, in the same order.
        expected: The axes that cases should have, such as LPS; None if there is no case to tell.
        whose: Which cases have these axes, for the findings.
    """
    remedy = (
        "nnU-Net ignores orientation, and the network learns the other axes: turn images and labels alike, without "
        f"interpolation, with `h2aseg convert --reorient` or SimpleITK.DICOMOrient(image, {expected!r})."
    )
    return [
        Finding(
            "warning", "axes", str(case.images[0]), f"axes {result.axes}", f"{expected}, {whose}", remedy, case.name
        )
        for case, result in zip(cases, results, strict=True)
        if result.axes and result.axes != expected
    ]


def check_unused_labels(declared: Dataset, results: Sequence[CaseResult], description: Path) -> list[Finding]:
    """Find labels that dataset.json declares and no training case has."""
    present = set().union(*(result.labels for result in results)) if results else set()
    values = declared.labels.values if declared.labels else ()
    unused = [value for value in values if value not in present and value != 0]
    if not unused or not present:
        return []
    found = f"label {', '.join(map(str, unused[:LABELS_IN_A_MESSAGE]))} occurs in none of {len(results)} training cases"
    remedy = "Correct the label maps, or remove the label: nothing can be learned of it."
    return [Finding("warning", "label-unused", str(description), found, "declared labels to occur", remedy)]
