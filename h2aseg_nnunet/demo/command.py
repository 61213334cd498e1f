"""`h2aseg demo`: options and call."""

import argparse

from h2aseg_nnunet.petct.options import Parser, add_device


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    parser.add_argument(
        "-o",
        dest="output",
        default="h2aseg_demo",
        metavar="FOLDER",
        help="Folder for everything (default: %(default)s).",
    )
    parser.add_argument("--seed", type=int, default=0, help="Seed of the synthetic patients (default: %(default)s).")
    add_device(parser, choices=("auto", "cpu", "cuda"))


def run(options: argparse.Namespace) -> None:
    """Run the demo and print its result."""
    from h2aseg_nnunet.demo.run import run_demo  # torch takes seconds to import

    result = run_demo(options.output, seed=options.seed, device=options.device)
    print(f"\nMean Dice on the held-out cases: H2ASeg {result.h2aseg_dice:.3f}")
    print(f"                                 SUV >= {result.threshold_suv:g} {result.threshold_dice:.3f}")
    print(f"Picture: {result.picture}\nEverything the demo wrote: {result.folder}")
