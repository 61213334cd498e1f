"""The `h2aseg` command: parses, calls, reports; no logic of its own."""

import argparse
import sys
from collections.abc import Sequence

from h2aseg_nnunet import __version__
from h2aseg_nnunet._register import trainer_path

Subparsers = argparse._SubParsersAction


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; a user's mistake is one line on standard error and exit code 1."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"h2aseg {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nh2aseg {options.command}: interrupted; the same command goes on from here.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="h2aseg", description="H2ASeg for PET/CT inside nnU-Net.")
    parser.add_argument("--version", action="version", version=f"h2aseg_nnunet {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add_command in (_add_demo, _add_trainer_path):
        add_command(commands)
    return parser


def _add_demo(commands: Subparsers) -> None:
    demo = commands.add_parser("demo", help="synthetic PET/CT, nnU-Net's commands with H2ASeg, and a picture")
    demo.add_argument("-o", dest="output", default="h2aseg_demo", help="folder for everything (default: %(default)s)")
    demo.add_argument("--seed", type=int, default=0, help="of the synthetic patients (default: %(default)s)")
    demo.add_argument("-device", default="auto", choices=("auto", "cpu", "cuda"), help="default: a GPU if any")
    demo.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> None:
    from h2aseg_nnunet.demo.run_demo import run_demo  # torch takes seconds to import

    result = run_demo(options.output, seed=options.seed, device=options.device)
    print(f"\nMean Dice on the held-out cases: H2ASeg {result.h2aseg_dice:.3f}")
    print(f"                                 SUV >= {result.threshold_suv:g} {result.threshold_dice:.3f}")
    print(f"Picture: {result.picture}\nEverything the demo wrote: {result.folder}")


def _add_trainer_path(commands: Subparsers) -> None:
    path = commands.add_parser(
        "trainer-path", help="directory for `export nnUNet_extTrainer=...` where no start-up file runs"
    )
    path.set_defaults(run=lambda options: print(trainer_path()))


if __name__ == "__main__":
    sys.exit(main())
