"""`h2aseg report`: options and call."""

import argparse

from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.petct.options import Parser, add_images, add_overlay, add_processes, add_scheduler


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    add_images(parser, help="Folder with case_0000 (CT) and case_0001 (PET in SUV).")
    parser.add_argument(
        "-p",
        dest="predictions",
        required=True,
        metavar="FOLDER",
        help="Predicted masks: the output of nnUNetv2_predict, or of a validation.",
    )
    parser.add_argument("-r", dest="references", metavar="FOLDER", help="Reference masks, for instance labelsTr.")
    parser.add_argument(
        "-o",
        dest="output",
        required=True,
        metavar="FOLDER",
        help="New folder, or an earlier report to bring up to date.",
    )
    parser.add_argument(
        "--dataset-json",
        metavar="FILE",
        former=("--dataset_json",),
        help="The dataset.json to use (default: beside the predictions, else beside the folder of images).",
    )
    add_overlay(parser)
    parser.add_argument(
        "--num-lesions",
        type=int,
        default=3,
        metavar="N",
        former=("--num_lesions",),
        help="Show slices through this many of the largest lesions found, missed and false (default: %(default)s).",
    )
    add_processes(parser, default=4)
    add_scheduler(parser)


def run(options: argparse.Namespace) -> None:
    """Make the report and say where to open it.

    Raises:
        UserError: If a prediction cannot be shown; the others are.
    """
    from h2aseg_nnunet.petct.cluster.connect import workers_of
    from h2aseg_nnunet.petct.report.case_page import PageSettings  # SciPy and matplotlib take a second to import
    from h2aseg_nnunet.petct.report.run import COULD_NOT, make_report

    reads = ("images", "predictions", "references", "dataset_json")
    with workers_of(options, reads, writes=("output",)):
        result = make_report(
            options.images,
            options.predictions,
            options.output,
            options.references,
            options.dataset_json,
            PageSettings(options.max_suv, options.num_lesions),
            options.processes,
        )
    for note, names in result.notes.items():
        print(f"{note}: {listing(names)}")
    print(f"Open {result.page}")
    if result.failed:
        problems = result.notes.get(COULD_NOT, [])
        first = f" {problems[0]}" if problems else ""
        raise UserError(f"{len(result.failed)} predictions could not be shown: {listing(result.failed)}.{first}")
