"""The cases of a cross-validation: what each fold's model predicted of patients that it had not seen."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.petct.cases import images_in
from h2aseg_nnunet.petct.evaluate.cases import EvaluatedCase, pair_files, require_organs, require_pets
from h2aseg_nnunet.petct.files import read_json, read_own_json
from h2aseg_nnunet.petct.nnunet.dataset_json import NAME as DATASET_JSON
from h2aseg_nnunet.petct.nnunet.folders import find_raw_dataset
from h2aseg_nnunet.petct.postprocess.reading import softmax_file
from h2aseg_nnunet.petct.tables import read_csv

CONVERSION = "conversion.json"
VALIDATION = "validation"
SUMMARY = "summary.json"
"""What nnU-Net writes there last."""


class Folders(NamedTuple):
    """Where the images of the cases are.

    Attributes:
        references: Reference masks.
        suv: PET in SUV.
        organs: Organ maps, or None.
        patients: Table with the columns case and patient, or conversion.json; None if nothing tells the patients.
    """

    references: Path
    suv: Path
    organs: Path | None = None
    patients: Path | None = None


def find_folders(
    model: Path, references: Path | None, suv: Path | None, organs: Path | None, patients: Path | None
) -> Folders:
    """Complete what is not given by the raw dataset of the model: labelsTr, imagesTr, conversion.json.

    Raises:
        UserError: If folders are not given and there is no such dataset.
    """
    if references is None or suv is None:
        name = str(read_json(model / "plans.json").get("dataset_name"))
        try:
            raw = find_raw_dataset(name)
        except UserError as error:
            raise UserError(f"{error} Or name the folders: -r REFERENCES --suv PET.") from error
        references, suv = references or raw / "labelsTr", suv or raw / "imagesTr"
    conversion = references.parent / CONVERSION
    return Folders(references, suv, organs, patients or (conversion if conversion.is_file() else None))


def find_cases(model: Path, folds: Sequence[str], folders: Folders) -> list[EvaluatedCase]:
    """Find the validation cases of some folds with their references, PET, organ maps and probabilities.

    Raises:
        UserError: If a fold was not validated or is `all`, files are missing, or two folds have one case.
    """
    known = {
        case.name: case
        for case in pair_files(
            folders.references, folders.references, folders.suv, (), folders.organs, model / DATASET_JSON
        ).cases
    }
    found: dict[str, EvaluatedCase] = {}
    for fold in folds:
        for name, mask in _validated(model, fold).items():
            if name in found:
                raise UserError(
                    f"{name} was validated in two folds, as {found[name].prediction} and {mask}: leave one out."
                )
            if name not in known:
                raise UserError(f"{folders.references} has no reference of {name}, which {mask} predicts.")
            found[name] = known[name]._replace(prediction=mask)
    cases = [found[name] for name in sorted(found)]
    require_pets(cases, folders.suv, model / DATASET_JSON)
    if folders.organs is not None:
        require_organs(cases, folders.organs)
    return cases


def patients_of(cases: Sequence[str], file: Path | None) -> dict[str, str]:
    """Return the patient of each case; without a file every case is one.

    Raises:
        UserError: If the file cannot be read or lacks a case.
    """
    if file is None:
        return {case: case for case in cases}
    known = _of_conversion(file) if file.name == CONVERSION else _of_table(file)
    missing = [case for case in cases if not known.get(case)]
    if missing:
        raise UserError(
            f"{file} names no patient of {listing(missing)}. Add them: --patients TABLE with case, patient."
        )
    return {case: known[case] for case in cases}


def remarks_on(cases: Sequence[EvaluatedCase], patient_of: Mapping[str, str]) -> list[str]:
    """Return what a user should know of the cases: validations that were cut short, patients that models had seen."""
    fold_of = {case.name: case.prediction.parents[1] for case in cases if case.prediction is not None}
    remarks = [
        f"The validation of {fold.name.replace('_', ' ')} was cut short: it has no {SUMMARY}, and {count} cases. "
        "Repeat it, with --val --npz."
        for fold, count in sorted(Counter(fold_of.values()).items())
        if not (fold / VALIDATION / SUMMARY).is_file()
    ]
    folds_of_patient: dict[str, set[Path]] = {}
    for name, fold in fold_of.items():
        folds_of_patient.setdefault(patient_of[name], set()).add(fold)
    seen = sum(len(folds) > 1 for folds in folds_of_patient.values())
    if seen:
        remarks.append(f"Patients with cases in several folds, whom the models had seen in training: {seen}.")
    return remarks


def _validated(model: Path, fold: str) -> Mapping[str, Path]:
    """The masks of a fold's validation cases, all with probabilities."""
    if fold == "all":
        raise UserError("-f all: that model was trained on all cases, so its predictions of them tell nothing.")
    folder = model / f"fold_{fold}" / VALIDATION
    repeat = f"nnUNetv2_train DATASET CONFIGURATION {fold} -tr ... --val --npz"
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist. Validate the fold: {repeat}")
    masks = images_in(folder)
    without = [name for name, mask in masks.items() if not softmax_file(mask).is_file()]
    if without:
        raise UserError(f"{folder} has no probabilities (.npz) of {listing(without)}. Validate again: {repeat}")
    return masks


def _of_conversion(file: Path) -> dict[str, str]:
    cases = (read_own_json(file) or {}).get("cases", {})
    return {name: str(record.get("patient", "")) for name, record in cases.items()}


def _of_table(file: Path) -> dict[str, str]:
    patients: dict[str, str] = {}
    for line, row in read_csv(file, ("case", "patient")):
        known = patients.setdefault(row["case"], row["patient"])
        if known != row["patient"]:
            raise UserError(f"{file}, line {line}: {row['case']} is of patient {row['patient']}, above of {known}.")
    return patients
