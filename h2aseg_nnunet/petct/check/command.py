"""`h2aseg check`: options and call."""

import argparse
from pathlib import Path

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.options import Parser, add_processes, add_scheduler


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("-d", dest="dataset", metavar="DATASET", help="Number or name of a dataset in nnUNet_raw.")
    where.add_argument("-i", dest="images", metavar="FOLDER", help="Images for prediction, case_0000.nii.gz, ...")
    parser.add_argument(
        "--dataset-json",
        metavar="FILE",
        former=("--dataset_json",),
        help="The model's dataset.json, with -i (default: beside the images, else CT and PET).",
    )
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="FILE", help="Write findings as JSON into FILE, or print them as JSON."
    )
    parser.add_argument("--notes", action="store_true", help="Show also what is unusual but may be right.")
    add_processes(parser, default=4)
    add_scheduler(parser)


def run(options: argparse.Namespace) -> int:
    """Check a dataset or a folder of images; the exit code is 1 if there is an error."""
    from h2aseg_nnunet.petct.check.findings import is_check
    from h2aseg_nnunet.petct.check.run import check_inputs, check_raw_dataset  # SimpleITK takes a second to import
    from h2aseg_nnunet.petct.cluster.connect import workers_of
    from h2aseg_nnunet.petct.files import as_json, require_own, write_json
    from h2aseg_nnunet.petct.nnunet.folders import find_raw_dataset

    file = Path(options.json) if options.json and options.json != "-" else None
    if file is not None:
        require_own(file, is_check, "the findings of an earlier check")
    if options.dataset_json and not options.images:
        raise UserError("--dataset-json goes with -i; a raw dataset has its own.")
    if options.images:
        with workers_of(options, reads=("images", "dataset_json")):
            outcome = check_inputs(options.images, options.dataset_json, options.processes)
    else:
        with workers_of(options, reads=[find_raw_dataset(options.dataset)]):
            outcome = check_raw_dataset(options.dataset, options.processes)
    if file is not None:
        write_json(file, outcome.as_json())
    print(as_json(outcome.as_json()).rstrip() if options.json == "-" else "\n".join(outcome.lines(options.notes)))
    return outcome.exit_code
