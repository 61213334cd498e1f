"""`h2aseg container`: options and call."""

import argparse
from pathlib import Path

from h2aseg_nnunet.petct.challenge import CHALLENGES
from h2aseg_nnunet.petct.container import WEIGHTS
from h2aseg_nnunet.petct.options import Parser, add_folds, add_model, positive


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    add_model(parser)
    add_folds(parser)
    parser.add_argument("--challenge", required=True, choices=CHALLENGES, help="The challenge that runs the image.")
    parser.add_argument("-o", dest="output", required=True, metavar="FOLDER", help="Folder for the build context.")
    parser.add_argument(
        "--weights",
        choices=WEIGHTS,
        default="inside",
        help="Weights in the image, or in model.tar.gz that is uploaded beside it (default: %(default)s).",
    )
    parser.add_argument("--base", default="", metavar="IMAGE", help="Image to build on (default: Python's own).")
    parser.add_argument(
        "--time-limit", type=positive, metavar="S", help="Seconds for a case (default: the challenge's, if published)."
    )
    parser.add_argument("--disable_tta", action="store_true", help="Predict without mirroring.")


def run(options: argparse.Namespace) -> None:
    """Write the build context and say what comes next."""
    from h2aseg_nnunet.petct.container.run import Options, write_context  # SimpleITK and torch take seconds to import

    folds = write_context(
        Path(options.model),
        Path(options.output),
        Options(
            options.challenge,
            tuple(options.folds),
            options.checkpoint,
            options.weights,
            options.base,
            options.time_limit,
            not options.disable_tta,
        ),
    )
    print(f"{options.output}: folds {', '.join(folds)}. Next: build.sh, test.sh and save.sh there; see its README.md.")
