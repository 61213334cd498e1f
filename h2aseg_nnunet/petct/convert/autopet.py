"""The AutoPET challenges' data: the NIfTI release of I and II, and the nnU-Net-like release of III and later."""

from pathlib import Path

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.convert.plan import Case, Plan, source_folder
from h2aseg_nnunet.petct.files import read_json

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
        missing = [file.name for file in (ct, pet, label) if not file.exists()]
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
            missing = [str(file.relative_to(source)) for file in needed if not file.exists()]
            if missing:
                refused[name] = f"{source} lacks {', '.join(missing)}."
                continue
            tracer, patient = _tracer_and_patient(name)
            cases.append(Case(name, patient, ct, pet, label if label.exists() else None, training, stratum=tracer))
    folds = source / "splits_final.json"
    return Plan(
        "AutoPETIII",
        "AutoPET III nnU-Net layout",
        source,
        LABELS,
        tuple(cases),
        refused,
        folds=read_json(folds) if folds.is_file() else None,
        one_grid=True,
        reference=f"{FDG}; {PSMA}",
    )


def _tracer_and_patient(name: str) -> tuple[str, str]:
    """`fdg_0168f65af8_04-04-2003-NA-PET-CT ...` -> fdg, fdg_0168f65af8."""
    parts = name.split("_")
    return (parts[0], "_".join(parts[:2])) if len(parts) > 2 else ("", name)
