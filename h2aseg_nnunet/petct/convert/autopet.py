"""The AutoPET challenges' data: the NIfTI release of I and II, and the nnU-Net-like release of III and later."""

import re
from dataclasses import replace
from pathlib import Path

from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.petct.convert.plan import Case, Plan, is_found, source_folder
from h2aseg_nnunet.petct.convert.splits import NUM_FOLDS, read_folds

CHALLENGE_NAME = re.compile(r"(?P<patient>(?P<tracer>fdg|psma)_[^_]+)_.")
"""`fdg_0168f65af8_04-04-2003-NA-PET-CT ...`: tracer, patient, study."""

LABELS = ("tumor",)
FDG = "Gatidis and Küstner, FDG-PET-CT-Lesions, DOI 10.7937/gkr0-xv29"
PSMA = "Jeblick et al., PSMA-PET-CT-Lesions, DOI 10.7937/r7ep-3x37"


def plan(source: str | Path) -> Plan:
    """Plan the cases of an AutoPET folder, whichever of the two layouts it has.

    Raises:
        UserError: If it has neither.
    """
    source = source_folder(source)
    studies = [folder for pattern in ("PETCT_*/*/", "*/PETCT_*/*/") for folder in sorted(source.glob(pattern))]
    if (source / "imagesTr").is_dir():
        return _plan_challenge_three(source)
    if studies:
        return _plan_release(source, [folder for folder in studies if folder.is_dir()])
    raise UserError(
        f"{source} has neither PETCT_<id>/<study>/ folders with CTres, SUV and SEG.nii.gz (AutoPET I and II) nor "
        "imagesTr and labelsTr (AutoPET III and later)."
    )


def _plan_release(source: Path, studies: list[Path]) -> Plan:
    """`PETCT_<id>/<study>/{CTres,SUV,SEG}.nii.gz`; a patient has one or several studies."""
    cases, refused = [], {}
    for study in studies:
        ct, pet, label = (study / f"{name}.nii.gz" for name in ("CTres", "SUV", "SEG"))
        name = f"{study.parent.name}_{study.name}"  # nnU-Net's own converter calls the cases so, too
        missing = [file.name for file in (ct, pet, label) if not is_found(file)]
        if missing:
            refused[name] = f"{study} lacks {', '.join(missing)}."
        else:
            cases.append(Case(name, patient=study.parent.name, ct=ct, pet=pet, label=label))
    if not cases:
        raise UserError(
            f"None of the {len(studies)} studies in {source} has CTres.nii.gz, SUV.nii.gz and SEG.nii.gz. If it is the "
            "DICOM release, convert it to NIfTI with the challenge's script first."
        )
    layout = "AutoPET I/II NIfTI release"
    return Plan("AutoPETII", layout, source, LABELS, tuple(cases), refused, one_grid=True, reference=FDG)


def _plan_challenge_three(source: Path) -> Plan:
    """`imagesTr/<tracer>_<patient>_<study>_0000.nii.gz` is CT, `_0001` PET; labelsTr; folds where delivered."""
    cases, refused = [], {}
    for part, training in (("Tr", True), ("Ts", False)):
        images, labels = source / f"images{part}", source / f"labels{part}"
        names = {file.name[: -len("_0000.nii.gz")] for file in images.glob("[!.]*_000[01].nii.gz")}
        for name in sorted(names):
            ct, pet, label = images / f"{name}_0000.nii.gz", images / f"{name}_0001.nii.gz", labels / f"{name}.nii.gz"
            needed = (ct, pet, label) if training else (ct, pet)
            missing = [str(file.relative_to(source)) for file in needed if not is_found(file)]
            if missing:
                refused[name] = f"{source} lacks {', '.join(missing)}."
                continue
            cases.append(Case(name, name, ct, pet, label if is_found(label) else None, training))
    folds = source / "splits_final.json"
    cases, notes = _name_patients(cases)
    return Plan(
        "AutoPETIII",
        "AutoPET III nnU-Net layout",
        source,
        LABELS,
        tuple(cases),
        refused,
        folds=read_folds(folds) if folds.is_file() else None,
        one_grid=True,
        reference=f"{FDG}; {PSMA}",
        notes=tuple(notes),
    )


def _name_patients(cases: list[Case]) -> tuple[list[Case], list[str]]:
    """Set tracer and patient by the challenge's names, guess them for others; and what a user should know of that."""
    own = [case.name for case in cases if case.training and not CHALLENGE_NAME.match(case.name)]
    guessed = _guess_patients(own)
    named = [
        replace(case, patient=match["patient"], stratum=match["tracer"])
        if (match := CHALLENGE_NAME.match(case.name))
        else replace(case, patient=guessed.get(case.name, case.name))
        for case in cases
    ]
    if not own:
        return named, []
    examples = listing([f"{name} is of {guessed[name]}" for name in own], limit=3)
    return named, [
        f"WARNING: {len(own)} cases are not named <fdg or psma>_<patient>_<study>, so their "
        f"{len(set(guessed.values()))} patients are guessed from the names: {examples}. If that is wrong, folds have a "
        "patient on both sides, and validation is too good: use h2aseg convert pairs, which takes the patients "
        "from a table"
    ]


def _guess_patients(names: list[str]) -> dict[str, str]:
    """The patient is what stands before the second _, or the only one; the whole name if that makes too few for folds.

    Too large groups cost nothing, too small ones leak.
    """
    guessed = {name: "_".join(name.split("_")[:-1][:2]) or name for name in names}
    return guessed if len(set(guessed.values())) >= NUM_FOLDS else {name: name for name in names}
