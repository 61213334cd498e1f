"""The cohort's tables, what is refused in them by name, and its pages."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from h2aseg_nnunet.errors import listing
from h2aseg_nnunet.petct.dicom.inputs import Input
from h2aseg_nnunet.petct.files import write_json, write_text
from h2aseg_nnunet.petct.segment.finish import NOTE, Outcome
from h2aseg_nnunet.petct.tables import write_csv

SUMMARY = ("case", "status", "num_lesions", "tmtv_ml", "tlg", "suv_max", "suv_peak", "message")


def unreadable_folders(unreadable: Mapping[Path, str]) -> list[Outcome]:
    """Return what could not be read and belongs to no case, by folder: it is refused by name as a case is."""
    by_folder: dict[Path, list[str]] = {}
    for path, reason in sorted(unreadable.items()):
        by_folder.setdefault(path if path.is_dir() else path.parent, []).append(f"{path}: {reason}")
    return [Outcome(str(folder), f"cannot be read: {listing(said, 3)}", {}) for folder, said in by_folder.items()]


def write_summary(outcomes: Sequence[Outcome], unreadable: Mapping[Path, str], output: Path) -> None:
    """Write summary.csv, summary.json and, of faults of the program, faults.log."""
    rows = []
    for outcome in outcomes:
        values = [outcome.record.get(column, "") for column in SUMMARY[2:-1]]
        message = outcome.refused or "; ".join([*outcome.record.get("notes", []), *outcome.record.get("findings", [])])
        rows.append([outcome.name, "refused" if outcome.refused else "segmented", *values, message])
    write_csv(output / "summary.csv", SUMMARY, rows)
    records = {
        outcome.name: {"refused": outcome.refused} if outcome.refused else outcome.record for outcome in outcomes
    }
    files = {str(file): reason for file, reason in unreadable.items()}
    write_json(output / "summary.json", {"note": NOTE, "cases": records, "unreadable_files": files})
    traces = "\n".join(f"{outcome.name}\n{outcome.trace}" for outcome in outcomes if outcome.trace)
    if traces:
        write_text(output / "faults.log", traces)


def write_report(
    cases: Sequence[Input], outcomes: Sequence[Outcome], model: Path, output: Path, max_suv: float, num_processes: int
) -> None:
    """Make the pages of `h2aseg report`; nnU-Net's own images are linked into the folder of images first."""
    from h2aseg_nnunet.petct.report.case_page import PageSettings
    from h2aseg_nnunet.petct.report.run import make_report

    shown = {outcome.name for outcome in outcomes if not outcome.refused}
    for case in cases:
        for channel, file in enumerate(case.images if case.on_one_grid and case.name in shown else ()):
            link = output / "images" / f"{case.name}_{channel:04d}{''.join(file.suffixes[-2:])}"
            link.parent.mkdir(exist_ok=True)
            if not link.exists():
                link.symlink_to(file.resolve())
    if shown:
        make_report(
            output / "images",
            output / "masks",
            output / "report",
            dataset_json=model / "dataset.json",
            settings=PageSettings(max_suv=max_suv),
            num_processes=num_processes,
        )
