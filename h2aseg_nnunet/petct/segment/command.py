"""`h2aseg segment`: options and call."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.petct.dicom import require_dicom
from h2aseg_nnunet.petct.options import (
    MODEL_FOLDER,
    Parser,
    add_folds,
    add_model,
    add_overlay,
    add_prediction,
    add_processes,
    add_scheduler,
    add_slurm,
    check_grid,
)
from h2aseg_nnunet.petct.segment import OUTPUT_TYPES

if TYPE_CHECKING:
    from h2aseg_nnunet.petct.cluster.slurm import SlurmQueue


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    parser.add_argument(
        "-i",
        dest="input",
        required=True,
        metavar="INPUT",
        help="Folder of DICOM files in any order, folder of nnU-Net images, or a table with the columns case, ct, pet.",
    )
    add_model(parser, f"{MODEL_FOLDER.removesuffix('.')}, or a zip of nnUNetv2_export_model_to_zip.")
    parser.add_argument("-o", dest="output", required=True, metavar="FOLDER", help="Folder for everything.")
    add_folds(parser)
    parser.add_argument(
        "--disable_tta", action="store_true", help="Predict without mirroring, which is faster and less accurate."
    )
    add_prediction(parser)
    parser.add_argument(
        "--output-type",
        nargs="+",
        choices=OUTPUT_TYPES,
        default=("nifti", "dicom_seg"),
        help="Masks to write; DICOM objects only of DICOM studies (default: nifti dicom_seg).",
    )
    parser.add_argument(
        "--grid",
        metavar="pet|ct|MM",
        default="",
        help="Grid for the network: the PET's, the CT's, or cubes of so many mm (default: as in the model's training).",
    )
    parser.add_argument("--ct-series", metavar="UID", help="CT series to use in the study that has it.")
    parser.add_argument("--pet-series", metavar="UID", help="PET series to use in the study that has it.")
    parser.add_argument(
        "--weights",
        metavar="CSV",
        help="Table of what DICOM headers lack: study or patient, weight_kg, dose_mbq, injected, corrected_to.",
    )
    parser.add_argument("--preview", action="store_true", help="Draw a picture of every case.")
    parser.add_argument(
        "--statistics", action="store_true", help="Write lesions and totals of every case as statistics.json, too."
    )
    parser.add_argument("--report", action="store_true", help="Make the pages of h2aseg report.")
    parser.add_argument(
        "--force", action="store_true", help="Segment cases in which h2aseg check finds errors of values."
    )
    parser.add_argument("--rules", metavar="JSON", help="Rule that h2aseg tune fitted to the model: docs/tune.md.")
    parser.add_argument("--low-memory", action="store_true", help="Do one case after the other, in one process.")
    add_overlay(parser)
    add_processes(parser, default=2)
    add_scheduler(parser)
    add_slurm(parser, "the cases")
    parser.add_argument(
        "--cases-per-job",
        type=int,
        default=20,
        metavar="N",
        help="With --slurm: number of cases that one job segments (default: %(default)s).",
    )


def run(options: argparse.Namespace) -> None:
    """Segment the cases and print a line of summary.

    Raises:
        UserError: If a case was refused; the others are segmented.
    """
    require_dicom()
    from h2aseg_nnunet.petct.cluster.connect import workers_of
    from h2aseg_nnunet.petct.postprocess.rules_file import read_rules
    from h2aseg_nnunet.petct.segment.finish import NOTE
    from h2aseg_nnunet.petct.segment.run import Settings, segment  # torch takes seconds to import

    settings = Settings(
        folds=tuple(options.folds),
        checkpoint=options.checkpoint,
        step_size=options.step_size,
        mirroring=not options.disable_tta,
        device=options.device,
        grid=check_grid(options.grid),
        output_types=tuple(options.output_type),
        preview=options.preview,
        statistics=options.statistics,
        report=options.report,
        force=options.force,
        ct_series=options.ct_series,
        pet_series=options.pet_series,
        weights=options.weights,
        max_suv=options.max_suv,
        processes=1 if options.low_memory else options.processes,
        cases_per_job=options.cases_per_job,
        rules=read_rules(Path(options.rules)) if options.rules else None,
    )
    queue = _queue(options)
    with workers_of(options, reads=("input", "model"), writes=("output",)):
        execute = queue.execute_all if queue else None
        outcomes = segment(options.input, options.model, options.output, settings, execute)
    refused = [outcome.name for outcome in outcomes if outcome.refused]
    print(f"Segmented {len(outcomes) - len(refused)} of {len(outcomes)}: {options.output}/summary.csv. {NOTE}")
    if refused:
        raise UserError(f"{len(refused)} of {len(outcomes)} cases were refused: {listing(refused)}.")


def _queue(options: argparse.Namespace) -> "SlurmQueue | None":
    """Slurm, if the cases are to become jobs."""
    if not options.slurm:
        return None
    if options.scheduler:
        raise UserError("--scheduler and --slurm are two ways to the same end: choose one.")
    if options.cases_per_job < 1:
        raise UserError(f"--cases-per-job {options.cases_per_job}: 1 or more is expected.")
    from h2aseg_nnunet.petct.cluster.slurm import SlurmQueue

    options.input = os.path.abspath(options.input)
    return SlurmQueue(options.slurm, Path(options.output).absolute())
