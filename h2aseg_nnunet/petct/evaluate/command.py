"""`h2aseg evaluate`: options and call."""

import argparse

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.evaluate import MISSING, PROTOCOLS
from h2aseg_nnunet.petct.options import Parser, add_processes, add_scheduler, positive


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    parser.add_argument("-r", dest="references", metavar="FOLDER", help="Reference masks, case.nii.gz.")
    parser.add_argument("-p", dest="predictions", metavar="FOLDER", help="Predicted masks of the same names.")
    parser.add_argument("positional", nargs="*", help=argparse.SUPPRESS)  # former spelling: REF_DIR PRED_DIR
    parser.add_argument(
        "--metrics",
        required=True,
        choices=PROTOCOLS,
        help="autopet: AutoPET III and IV; autopet2: the unguarded script of I and II; lesion: detection of lesions.",
    )
    parser.add_argument("-o", dest="output", metavar="JSON", help="Write everything into a JSON file.")
    parser.add_argument("--csv", metavar="CSV", help="Write one row per case into a CSV file.")
    parser.add_argument(
        "--suv",
        metavar="FOLDER",
        help="PET in SUV, case_0001.nii.gz or case.nii.gz; adds tumor volume, TLG and SUVmax.",
    )
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
    from h2aseg_nnunet.petct.evaluate.run import MetricSettings, evaluate_folders

    options.references, options.predictions = _folders(options)
    table.check_outputs(options.output, options.csv)
    with workers_of(options, reads=("references", "predictions", "suv", "dataset_json")):
        evaluation = evaluate_folders(
            options.references,
            options.predictions,
            MetricSettings(options.metrics, minimum_iou=options.iou, tolerance_mm=options.surface),
            pet_dir=options.suv,
            missing=options.missing,
            num_processes=options.processes,
            seed=options.seed,
            dataset_json=options.dataset_json,
        )
    print(table.to_text(evaluation))
    table.write(evaluation, options.output, options.csv)


def _folders(options: argparse.Namespace) -> tuple[str, str]:
    """The folders of references and predictions, by option or, as formerly, by position."""
    named = [options.references, options.predictions]
    if options.positional and named == [None, None]:
        named = options.positional
    elif options.positional:
        raise UserError(f"{' '.join(options.positional)}: give the folders as -r REFERENCES -p PREDICTIONS.")
    if len(named) != 2 or None in named:
        raise UserError("two folders are needed: -r REFERENCES -p PREDICTIONS.")
    return named[0], named[1]
