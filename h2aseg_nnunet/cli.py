"""The `h2aseg` command: a table of commands, each with its options and its call in its package's `command.py`."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from h2aseg_nnunet import __version__
from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.options import Parser

COMMANDS = {
    "demo": ("h2aseg_nnunet.demo", "Train and predict on synthetic PET/CT, and draw a picture."),
    "convert": ("h2aseg_nnunet.petct.convert", "Make an nnU-Net dataset of AutoPET, HECKTOR or your own CT/PET pairs."),
    "check": ("h2aseg_nnunet.petct.check", "Find faults in a raw dataset or in images for prediction."),
    "plan": ("h2aseg_nnunet.planning", "Plan patch and batch size so that H2ASeg fills the GPU."),
    "segment": ("h2aseg_nnunet.petct.segment", "Segment DICOM studies or images: masks, lesions, DICOM objects."),
    "evaluate": ("h2aseg_nnunet.petct.evaluate", "Compute the challenges' metrics from folders of masks."),
    "tune": ("h2aseg_nnunet.petct.tune", "Fit rules for post-processing on a model's cross-validation, or find none."),
    "postprocess": ("h2aseg_nnunet.petct.postprocess", "Apply rules that were fitted to a model to its predictions."),
    "report": ("h2aseg_nnunet.petct.report", "Make pages that show found, missed and false lesions."),
    "explain": ("h2aseg_nnunet.explain", "Show what the network based a prediction on."),
    "compare": ("h2aseg_nnunet.petct.compare", "Train and compare trainers on identical folds, seeds and schedule."),
    "train-folds": ("h2aseg_nnunet.petct.train_folds", "Train all folds of a trainer, here or as jobs of Slurm."),
    "robustness": ("h2aseg_nnunet.petct.robustness", "Measure what a missing or shifted modality costs a model."),
    "container": ("h2aseg_nnunet.petct.container", "Prepare an image that a challenge accepts, from a model."),
    "challenge": ("h2aseg_nnunet.petct.challenge", "Segment one case as grand-challenge delivers it: inside an image."),
    "export": ("h2aseg_nnunet.petct.export", "Hand a model on: nnU-Net's zip, a Hugging Face folder, a model card."),
    "trainer-path": ("h2aseg_nnunet._register", "Print the folder for nnUNet_extTrainer where no start-up file runs."),
}
"""Command -> package and help. Only the chosen command is imported, so that the others' libraries cost no time."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    A `UserError` is one line on standard error and exit code 1, unless --debug asks for its traceback. Any other
    exception is a fault of the program and is not caught.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = make_parser(next((a for a in arguments if a in COMMANDS), None)).parse_args(arguments)
    try:
        exit_code: int | None = options.run(options)
    except UserError as error:
        if options.debug:
            raise
        print(f"h2aseg {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nh2aseg {options.command}: interrupted; run the same command again.", file=sys.stderr)
        return 130
    return exit_code or 0


def make_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Make the parser of all commands, with the options of `command`; of every command if it is None."""
    parser = Parser(prog="h2aseg", description="Tools for PET/CT and for H2ASeg inside nnU-Net.")
    parser.add_argument("--version", action="version", version=f"h2aseg_nnunet {__version__}")
    debug: dict[str, Any] = {"action": "store_true", "help": "Show the traceback of an error."}
    parser.add_argument("--debug", **debug)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (package, sentence) in COMMANDS.items():
        subparser = commands.add_parser(name, help=sentence, description=sentence)
        subparser.add_argument("--debug", **debug | {"default": argparse.SUPPRESS})
        if command in (None, name):
            door = import_module(package if package.endswith("_register") else f"{package}.command")
            door.add_arguments(subparser)
            subparser.set_defaults(run=door.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
