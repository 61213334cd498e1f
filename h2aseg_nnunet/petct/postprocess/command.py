"""`h2aseg postprocess`: options and call."""

import argparse
from pathlib import Path

from h2aseg_nnunet.petct.options import MODEL_FOLDER, Parser, add_organs, add_processes


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    parser.add_argument(
        "-i", dest="predictions", required=True, metavar="FOLDER", help="Masks by nnUNetv2_predict, case.nii.gz."
    )
    parser.add_argument("-o", dest="output", required=True, metavar="FOLDER", help="Folder for the new masks.")
    parser.add_argument("--rules", required=True, metavar="JSON", help="File that h2aseg tune wrote.")
    parser.add_argument(
        "--suv", metavar="FOLDER", help="PET in SUV, case_0001.nii.gz or case.nii.gz, if the rule asks for uptake."
    )
    add_organs(parser)
    parser.add_argument(
        "-m", dest="model", metavar="MODEL_FOLDER", help=f"{MODEL_FOLDER} It is compared with the rules."
    )
    add_processes(parser, default=4)


def run(options: argparse.Namespace) -> None:
    """Apply the rule, and say what it changed."""
    from h2aseg_nnunet.petct.postprocess.run import Sources, postprocess_folder  # SimpleITK takes a second to import

    suv, organs = (None if folder is None else Path(folder) for folder in (options.suv, options.organs))
    sources = Sources(suv, organs, options.organ_labels)
    outcome = postprocess_folder(
        options.predictions, options.output, options.rules, sources, options.model, options.processes
    )
    for remark in outcome.remarks:
        print(remark)
    changed = sum(any(values.values()) for values in outcome.cases.values())
    print(f"{outcome.rule.describe()}: {changed} of {len(outcome.cases)} masks changed")
