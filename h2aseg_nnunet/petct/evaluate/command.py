"""`h2aseg evaluate`: options and call."""

import argparse
from pathlib import Path

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.evaluate import MISSING, PROTOCOLS
from h2aseg_nnunet.petct.options import Parser, add_organs, add_processes, add_scheduler, positive


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    parser.add_argument("-r", dest="references", metavar="FOLDER", help="Reference masks, case.nii.gz.")
    parser.add_argument(
        "-p",
        dest="predictions",
        nargs="+",
        metavar="FOLDER",
        help="Predicted masks of the same names; for autopet4 and autopet5 one folder per interaction step, in order.",
    )
    parser.add_argument("positional", nargs="*", help=argparse.SUPPRESS)  # former spelling: REF_DIR PRED_DIR
    parser.add_argument(
        "--metrics",
        required=True,
        choices=PROTOCOLS,
        help="autopet: AutoPET III, and IV without interaction; autopet2: the unguarded script of I and II; "
        "autopet4, autopet5: interaction steps; deeppsma: needs --suv; lesion: detection of lesions; clinical: what a "
        "clinic reads off a mask.",
    )
    parser.add_argument("-o", dest="output", metavar="JSON", help="Write everything into a JSON file.")
    parser.add_argument("--csv", metavar="CSV", help="Write one row per case into a CSV file.")
    parser.add_argument(
        "--suv",
        metavar="FOLDER",
        help="PET in SUV, case_0001.nii.gz or case.nii.gz; adds tumor volume, TLG and SUVmax.",
    )
    add_organs(parser, "Organ maps, case.nii.gz, for --metrics clinical: adds tumor per organ.")
    parser.add_argument(
        "--iou", type=positive, help="Overlap that finds a lesion, for --metrics lesion (default: one voxel)."
    )
    parser.add_argument(
        "--surface", type=positive, metavar="MM", help="Add HD95, and the surface Dice at this tolerance."
    )
    parser.add_argument(
        "--missing",
        choices=MISSING,
        help="References without a prediction: refuse them, count them as empty, or leave them out "
        "(default: error; for HECKTOR empty).",
    )
    parser.add_argument(
        "--dataset-json",
        metavar="FILE",
        help="The dataset.json that declares the masks' labels (default: the one beside or above the masks, if any).",
    )
    parser.add_argument("--seed", type=int, default=0, help="Seed of the bootstrap (default: %(default)s).")
    add_processes(parser, default=4)
    add_scheduler(parser)


def run(options: argparse.Namespace) -> None:
    """Evaluate, print the table, and write the files asked for."""
    from h2aseg_nnunet.petct.cluster.connect import workers_of
    from h2aseg_nnunet.petct.evaluate import table  # SimpleITK and SciPy take a second to import
    from h2aseg_nnunet.petct.evaluate.protocol import MetricSettings
    from h2aseg_nnunet.petct.evaluate.run import evaluate_folders

    options.references, folders = _folders(options)
    predictions = [Path(folder).absolute() if options.scheduler else Path(folder) for folder in folders]
    labels = options.organ_labels
    table.check_outputs(options.output, options.csv)
    with workers_of(options, reads=("references", *predictions, "suv", "organs", "dataset_json")):
        evaluation = evaluate_folders(
            options.references,
            predictions,
            MetricSettings(
                options.metrics,
                minimum_iou=options.iou,
                tolerance_mm=options.surface,
                organ_labels=str(Path(labels).absolute()) if Path(labels).is_file() else labels,
            ),
            pet_dir=options.suv,
            missing=options.missing,
            num_processes=options.processes,
            seed=options.seed,
            dataset_json=options.dataset_json,
            organ_dir=options.organs,
        )
    print(table.to_text(evaluation))
    table.write(evaluation, options.output, options.csv)


def _folders(options: argparse.Namespace) -> tuple[str, list[str]]:
    """The folders of references and predictions, by option or, as formerly, by position."""
    references, predictions = options.references, options.predictions
    if options.positional and (references, predictions) == (None, None):
        references, *predictions = options.positional
    elif options.positional:
        raise UserError(f"{' '.join(options.positional)}: give the folders as -r REFERENCES -p PREDICTIONS.")
    if references is None or not predictions:
        raise UserError("two folders are needed: -r REFERENCES -p PREDICTIONS.")
    return references, predictions
