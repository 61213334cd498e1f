"""`h2aseg challenge`: options and call."""

import argparse
import sys
import time
from pathlib import Path

from h2aseg_nnunet.petct.challenge import CHALLENGES, MODEL_PLACES
from h2aseg_nnunet.petct.options import Parser, add_checkpoint, add_folds, add_prediction, positive


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    parser.add_argument("--challenge", required=True, choices=CHALLENGES, help="Whose files to read and to write.")
    parser.add_argument("--input", default="/input", metavar="FOLDER", help="Inputs of a case (default: %(default)s).")
    parser.add_argument("--output", default="/output", metavar="FOLDER", help="Outputs of it (default: %(default)s).")
    parser.add_argument(
        "-m",
        dest="model",
        metavar="MODEL_FOLDER",
        help=f"Folder of the model (default: the one in {' or '.join(map(str, MODEL_PLACES))}).",
    )
    add_folds(parser, "Folds to average (default: all there are).")
    add_checkpoint(parser)
    parser.add_argument("--disable_tta", action="store_true", help="Predict without mirroring.")
    add_prediction(parser)
    parser.add_argument(
        "--time-limit",
        type=positive,
        metavar="S",
        help="Seconds for the case: mirroring, then folds are left out where the speed measured would not suffice.",
    )
    parser.add_argument(
        "--strict", action="store_true", help="Exit with 1 if the mask is empty because something failed, for tests."
    )


def run(options: argparse.Namespace) -> int:
    """Segment the case and print what was done; a failure is an empty mask, a message and, by default, success."""
    started = time.monotonic()
    from h2aseg_nnunet.petct.challenge.predict import Prediction  # torch takes seconds to import
    from h2aseg_nnunet.petct.challenge.run import run_case

    outcome = run_case(
        options.challenge,
        Path(options.input),
        Path(options.output),
        Prediction(
            places=(Path(options.model),) if options.model else MODEL_PLACES,
            folds=tuple(options.folds),
            checkpoint=options.checkpoint,
            step_size=options.step_size,
            mirroring=not options.disable_tta,
            device=options.device,
        ),
        options.time_limit,
        started,
    )
    seconds = time.monotonic() - started
    if outcome.choice is None:
        print(f"h2aseg challenge: {outcome.problem} {outcome.mask} is empty.", file=sys.stderr)
        return int(options.strict)
    mirroring = "with" if outcome.choice.mirroring else "without"
    print(f"{outcome.mask}: {outcome.choice.folds} folds {mirroring} mirroring, {seconds:.0f} s.")
    return 0
