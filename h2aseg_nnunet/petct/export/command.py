"""`h2aseg export`: options and call."""

import argparse
from pathlib import Path

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.options import Parser, add_folds, add_model


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    add_model(parser)
    add_folds(parser, "Folds to hand on (default: all trained).")
    parser.add_argument("-o", dest="output", required=True, metavar="FOLDER", help="Folder for zip and folder.")
    parser.add_argument("--license", metavar="ID", help="License of the weights, for instance cc-by-4.0.")
    parser.add_argument(
        "--use", metavar="SENTENCES", help="What the model is meant for (default: research on what it was trained on)."
    )
    parser.add_argument(
        "--hardware", metavar="WORDS", help="What it was trained on (default: as nnU-Net noted it in debug.json)."
    )


def run(options: argparse.Namespace) -> None:
    """Export the model and say where it is.

    Raises:
        UserError: If no license is given: nobody but the owner of the data and weights can know it.
    """
    if not options.license:
        raise UserError(
            "a license is needed, for the training data decides what may be done with the weights: "
            "--license cc-by-4.0, for instance."
        )
    from h2aseg_nnunet.petct.export.run import Card, export_model  # torch takes seconds to import

    exported = export_model(
        Path(options.model),
        Path(options.output),
        Card(options.license, options.use, options.hardware),
        tuple(options.folds),
        options.checkpoint,
    )
    print(f"{exported.archive}\n{exported.folder}: read README.md, the model card, and complete it before you upload.")
    for note in exported.notes:
        print(f"note: {note}")
