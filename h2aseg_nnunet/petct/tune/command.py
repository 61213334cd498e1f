"""`h2aseg tune`: options and call."""

import argparse
from pathlib import Path

from h2aseg_nnunet.petct.options import Parser, add_folds, add_model, add_organs, add_processes
from h2aseg_nnunet.petct.tune import METRICS


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    add_model(parser)
    add_folds(parser, "Folds to fit on (default: all trained).")
    parser.add_argument(
        "--metric",
        choices=METRICS,
        default="autopet",
        help="autopet: Dice, false-positive and false-negative volume; lesion-f1: F1 of lesions; auc-dice: Dice in "
        "which a patient without lesions counts (default: %(default)s).",
    )
    parser.add_argument(
        "-o", dest="output", required=True, metavar="JSON", help="File for the rule; a figure beside it."
    )
    parser.add_argument("-r", dest="references", metavar="FOLDER", help="Reference masks (default: the raw labelsTr).")
    parser.add_argument("--suv", metavar="FOLDER", help="PET in SUV (default: the raw dataset's imagesTr).")
    add_organs(parser)
    parser.add_argument(
        "--patients",
        metavar="CSV",
        help="Table with the columns case and patient (default: what h2aseg convert has noted, else each case is one).",
    )
    parser.add_argument(
        "--families", nargs="+", default=(), metavar="NAME", help="Families of rules to try (default: all)."
    )
    parser.add_argument(
        "--even-if-uncertain",
        action="store_true",
        help="Choose the best rule also where the interval of its gain includes 0.",
    )
    parser.add_argument("--seed", type=int, default=0, help="Seed of divisions and bootstrap (default: %(default)s).")
    add_processes(parser, default=4)


def run(options: argparse.Namespace) -> None:
    """Fit the rule, print what it gains, and write it."""
    from h2aseg_nnunet.petct.tune.run import Settings, tune  # torch takes seconds to import
    from h2aseg_nnunet.petct.tune.text import to_text
    from h2aseg_nnunet.petct.tune.write import require_outputs, write

    output = Path(options.output)
    require_outputs(output)
    references, suv, organs, patients = (
        None if given is None else Path(given)
        for given in (options.references, options.suv, options.organs, options.patients)
    )
    settings = Settings(
        metric=options.metric,
        folds=tuple(options.folds),
        checkpoint=options.checkpoint,
        families=tuple(options.families),
        even_if_uncertain=options.even_if_uncertain,
        references=references,
        suv=suv,
        organs=organs,
        organ_labels=options.organ_labels,
        patients=patients,
        seed=options.seed,
        processes=options.processes,
    )
    tuned = tune(options.model, settings)
    write(tuned, output)
    print(to_text(tuned))
