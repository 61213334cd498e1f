"""The HECKTOR challenges' data, in which CT and PET have grids of their own."""

import math
from dataclasses import replace
from pathlib import Path

from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.petct.convert.plan import Box, Case, Plan, is_found, source_folder
from h2aseg_nnunet.petct.tables import read_csv

REFERENCE = "HECKTOR challenge, https://hecktor.grand-challenge.org"
BOX_COLUMNS = ("x1", "y1", "z1", "x2", "y2", "z2")


def plan(source: str | Path, bounding_boxes: str | Path | None = None) -> Plan:
    """Plan the cases of a HECKTOR folder, 2022 and later (`<PatientID>__CT.nii.gz`) or 2021 (`<PatientID>_ct.nii.gz`).

    From 2025 on, Task 1 has labels, and Tasks 2 and 3 have the images of the same patients without: a patient is taken
    from where the label is. A folder of patients without any label is test data.

    Args:
        source: Searched with all folders below, so that training and test data may lie beside each other.
        bounding_boxes: HECKTOR 2021's table of the regions that count: PatientID, x1, x2, y1, y2, z1, z2 in mm.

    Raises:
        UserError: If there is no CT, a patient is there twice, or the table cannot be read.
    """
    source = source_folder(source)
    labels: tuple[str, ...]
    if cts := sorted(source.rglob("[!.]*__CT.nii.gz")):
        year, labels = 2022, ("GTVp", "GTVn")
        cases, notes = _one_of_each_patient([_case_2022(ct) for ct in cts])
    elif cts := sorted(source.rglob("[!.]*_ct.nii.gz")):
        year, labels, cases, notes = 2021, ("GTVt",), [_case_2021(ct) for ct in cts], []
    else:
        raise UserError(
            f"{source} has no CT of HECKTOR, neither <PatientID>__CT.nii.gz (2022 and later) nor "
            "<PatientID>_ct.nii.gz (2021)."
        )
    refused = {case.name: reason for case in cases if (reason := _missing(case))}
    details = {}
    if bounding_boxes is not None:
        boxes = _read_boxes(Path(bounding_boxes))
        details["bounding_boxes"] = str(Path(bounding_boxes).resolve())
        refused |= {case.name: f"{bounding_boxes} has no such PatientID." for case in cases if case.name not in boxes}
        cases = [replace(case, box_mm=boxes.get(case.name)) for case in cases]
    cases = [case for case in cases if case.name not in refused]
    layout = f"HECKTOR {year} NIfTI release"
    return Plan(
        f"HECKTOR{year}",
        layout,
        source,
        labels,
        tuple(cases),
        refused,
        reference=REFERENCE,
        details=details,
        notes=tuple(notes),
    )


def _case_2022(ct: Path) -> Case:
    """Images in imagesTr or imagesTs, labels beside them; from 2025 on one folder per patient with all three."""
    patient = ct.name.removesuffix("__CT.nii.gz")
    training = ct.parent.name != "imagesTs"
    labels = ct.parent.with_name(ct.parent.name.replace("images", "labels"))
    label = labels / f"{patient}.nii.gz"
    pet = ct.with_name(f"{patient}__PT.nii.gz")
    return Case(patient, patient, ct, pet, label if training or _is_there(label) else None, training)


def _one_of_each_patient(cases: list[Case]) -> tuple[list[Case], list[str]]:
    """Of a patient in several of 2025's tasks the one with the label; and what a user should know."""
    labeled = {_task(case) for case in cases if case.label is not None and _is_there(case.label)}
    tests = {task for case in cases if (task := _task(case)) is not None and task not in labeled}
    proper = [case for case in cases if _task(case) not in tests]
    patients = {case.patient for case in proper}
    notes, doubles = [], 0
    for case in cases:
        if _task(case) not in tests:
            continue
        if case.patient in patients:
            doubles += 1
            continue
        patients.add(case.patient)
        proper.append(replace(case, label=None, training=False))
    if doubles:
        notes.append(f"{doubles} folders without labels are not used: their patients lie in another folder, too")
    if names := sorted({str(_task(case)) for case in proper if _task(case) in tests}):
        notes.append(f"no patient of {listing(names)} has a label, so they are test cases")
    return proper, notes


def _task(case: Case) -> Path | None:
    """The folder in which the patients' folders lie, from 2025 on; None in imagesTr and imagesTs."""
    return case.ct.parent.parent if case.ct.parent.name == case.patient else None


def _is_there(file: Path) -> bool:
    """Whether a file has this name, be it a link whose target cannot be reached."""
    return file.is_symlink() or file.exists()


def _case_2021(ct: Path) -> Case:
    """CT, PET and label in one folder `hecktor_nii`; where it has no label at all, it is the test data."""
    patient = ct.name.removesuffix("_ct.nii.gz")
    training = any(ct.parent.glob("[!.]*_gtvt.nii.gz"))
    label = ct.with_name(f"{patient}_gtvt.nii.gz") if training else None
    return Case(patient, patient, ct, ct.with_name(f"{patient}_pt.nii.gz"), label, training)


def _missing(case: Case) -> str | None:
    missing = [str(file) for file in case.sources.values() if not is_found(file)]
    return f"There is no {' and no '.join(missing)}." if missing else None


def _read_boxes(file: Path) -> dict[str, Box]:
    return {row["patientid"]: _box(row, file, line) for line, row in read_csv(file, ("patientid", *BOX_COLUMNS))}


def _box(row: dict[str, str], file: Path, line: int) -> Box:
    try:
        x1, y1, z1, x2, y2, z2 = box = tuple(float(row[column]) for column in BOX_COLUMNS)
    except ValueError as error:
        raise UserError(f"{file}, line {line}: {error}") from error
    if not all(map(math.isfinite, box)):
        raise UserError(f"{file}, line {line}: a box is six numbers in mm, not {', '.join(map(str, box))}.")
    return x1, y1, z1, x2, y2, z2
