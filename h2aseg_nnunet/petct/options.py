"""Options that several commands share: one spelling, one meaning, one sentence of help."""

import argparse
import math
from typing import Any

from h2aseg_nnunet.errors import UserError

DEVICES = ("auto", "cpu", "cuda", "mps")
MODEL_FOLDER = "nnU-Net's results folder of one trained model: TRAINER__PLANS__CONFIGURATION."


class Parser(argparse.ArgumentParser):
    """A parser that takes former spellings of an option without showing them, and no abbreviations."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs | {"allow_abbrev": False})

    def add_argument(self, *names: str, former: tuple[str, ...] = (), **kwargs: Any) -> argparse.Action:
        """Add an option; `former` spellings mean the same and are left out of the help."""
        action = super().add_argument(*names, **kwargs)
        for name in former:
            self._option_string_actions[name] = action
        return action


def positive(text: str) -> float:
    """Read a number above 0, for argparse's `type`; nan and inf are none."""
    number = finite(text)
    if number <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def finite(text: str) -> float:
    """Read a number that is not nan or inf, for argparse's `type`."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text} is not a number")
    return number


def add_images(parser: Parser, required: bool = True, help: str = "Folder of images, case_0000.nii.gz, ...") -> None:
    """Add -i."""
    parser.add_argument("-i", dest="images", required=required, metavar="FOLDER", help=help)


def add_model(parser: Parser, help: str = MODEL_FOLDER) -> None:
    """Add -m and -chk: a model folder and the checkpoint to use of it."""
    parser.add_argument("-m", dest="model", required=True, metavar="MODEL_FOLDER", help=help)
    add_checkpoint(parser)


def add_checkpoint(parser: Parser) -> None:
    """Add -chk."""
    parser.add_argument(
        "-chk",
        dest="checkpoint",
        default="checkpoint_final.pth",
        metavar="FILE",
        help="Name of the checkpoint in each fold's folder (default: %(default)s).",
    )


def add_folds(parser: Parser, help: str = "Folds to average (default: all trained).") -> None:
    """Add -f: folds of a model; none for all."""
    parser.add_argument("-f", dest="folds", nargs="+", default=(), metavar="FOLD", help=help)


def add_prediction(parser: Parser) -> None:
    """Add -step_size and -device, as nnUNetv2_predict has them."""
    parser.add_argument(
        "-step_size",
        type=positive,
        default=0.5,
        metavar="SHARE",
        help="Step of the sliding window as a share of the patch (default: %(default)s).",
    )
    add_device(parser)


def add_device(parser: Parser, choices: tuple[str, ...] = DEVICES) -> None:
    """Add -device."""
    parser.add_argument(
        "-device",
        default="auto",
        choices=choices,
        former=("--device",),
        help="Device to run on (default: a GPU if any).",
    )


def add_processes(parser: Parser, default: int) -> None:
    """Add -np."""
    parser.add_argument(
        "-np",
        dest="processes",
        type=int,
        default=default,
        metavar="N",
        help="Number of processes that work on cases at the same time (default: %(default)s).",
    )


def add_scheduler(parser: Parser) -> None:
    """Add --scheduler: the cases go to a Dask cluster."""
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="Work on the workers of this Dask scheduler, tcp://head:8786 or a scheduler file, instead of in processes "
        "of this machine: docs/cluster.md.",
    )


def add_slurm(parser: Parser, what: str) -> None:
    """Add --slurm: `what` become jobs."""
    parser.add_argument(
        "--slurm",
        metavar="OPTIONS",
        help=f"Submit {what} as jobs of Slurm with these options of sbatch, for instance "
        "'--partition gpu --gres gpu:1 --time 24:00:00', and follow them: docs/cluster.md.",
    )


def add_organs(parser: Parser, help: str = "Organ maps, case.nii.gz, for PERCIST's threshold.") -> None:
    """Add --organs and --organ-labels: maps of the organs, and what their values mean."""
    parser.add_argument("--organs", metavar="FOLDER", help=help)
    parser.add_argument(
        "--organ-labels",
        default="totalsegmentator",
        metavar="WHOSE",
        help="Whose organ maps: totalsegmentator, moose, or a JSON file {organ: value} (default: %(default)s).",
    )


def add_continue(parser: Parser, what: str) -> None:
    """Add --continue_prediction, spelled as in nnUNetv2_predict."""
    parser.add_argument(
        "--continue_prediction", "--c", action="store_true", help=f"Keep finished {what} (default: replace them)."
    )


def add_overlay(parser: Parser) -> None:
    """Add --max-suv, the gray scale of PET in pictures."""
    parser.add_argument(
        "--max-suv",
        type=positive,
        default=10.0,
        metavar="SUV",
        former=("--max_suv",),
        help="SUV that is drawn black in pictures of the PET (default: %(default)s).",
    )


def check_grid(text: str) -> str:
    """Return a grid as it was given: pet, ct, a number of mm, or nothing.

    Raises:
        UserError: If it is something else.
    """
    if text in ("", "pet", "ct"):
        return text
    try:
        if 0 < float(text) < 100:
            return text
    except ValueError:
        pass
    raise UserError(f"--grid {text}: expected is pet, ct, or the size of voxels in mm, for instance 4.")
