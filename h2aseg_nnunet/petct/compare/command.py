"""`h2aseg compare`: options and call."""

import argparse
import os
from pathlib import Path

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.options import Parser, add_device, add_images, add_processes, add_slurm


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    parser.add_argument("-d", dest="dataset", required=True, help="Number or name of a preprocessed dataset.")
    parser.add_argument(
        "-c", dest="configuration", required=True, help="Configuration of the plans: 2d, 3d_fullres, ..."
    )
    parser.add_argument(
        "--trainers",
        nargs="+",
        required=True,
        metavar="TRAINER[:PLANS]",
        help="Trainers to compare, the first of which is the reference; "
        "e.g. nnUNetTrainer nnUNetTrainer:nnUNetResEncUNetMPlans nnUNetTrainerH2ASeg.",
    )
    parser.add_argument(
        "--plans",
        default="nnUNetPlans",
        former=("-p",),
        help="Plans of trainers that name none (default: %(default)s).",
    )
    parser.add_argument(
        "--folds", nargs="+", type=int, default=[0, 1, 2, 3, 4], help="Folds to train (default: 0 1 2 3 4)."
    )
    parser.add_argument(
        "--seeds", nargs="+", type=int, default=[0], help="Seeds of initial weights and data order (default: 0)."
    )
    for name, default, sentence in (
        ("--epochs", 1000, "Number of epochs of every trainer"),
        ("--iterations", 250, "Number of iterations per epoch"),
        ("--val-iterations", 50, "Number of iterations of an epoch's pseudo Dice"),
    ):
        parser.add_argument(name, type=int, default=default, help=f"{sentence} (default: %(default)s).")
    parser.add_argument(
        "-o", dest="output", default="h2aseg_compare", help="Folder for everything (default: %(default)s)."
    )
    add_device(parser)
    add_images(parser, required=False, help="Folder of held-out images: compare on them, folds as an ensemble.")
    parser.add_argument(
        "-r", dest="references", metavar="FOLDER", former=("-gt",), help="Reference masks of the held-out images."
    )
    parser.add_argument(
        "--disable_tta", action="store_true", help="Predict held-out images without mirroring, which is much faster."
    )
    parser.add_argument("--dry-run", action="store_true", help="Only print a command for each run, to be run anywhere.")
    parser.add_argument(
        "--only", choices=("runs", "table"), help="Carry out the runs without a table, or only make the table."
    )
    add_processes(parser, default=4)
    add_slurm(parser, "the runs")


def run(options: argparse.Namespace) -> None:
    """Carry out what is not finished and write the comparison.

    Raises:
        UserError: If a run failed; the others are compared.
    """
    from h2aseg_nnunet.petct.cluster.slurm import SlurmQueue
    from h2aseg_nnunet.petct.compare.heldout import HeldOut  # nnU-Net and torch take seconds to import
    from h2aseg_nnunet.petct.compare.run import commands, compare_trainers
    from h2aseg_nnunet.petct.compare.training_runs import make_runs
    from h2aseg_nnunet.petct.nnunet.folders import dataset_name

    if (options.images is None) != (options.references is None):
        raise UserError("-i and -r go together: held-out images and their reference masks.")
    if options.disable_tta and options.images is None:
        raise UserError("--disable_tta is for the held-out images of -i; nnU-Net's validation mirrors.")
    heldout = None
    if options.images:
        images, references = os.path.abspath(options.images), os.path.abspath(options.references)
        heldout = HeldOut(images, references, mirroring=not options.disable_tta)
    runs = make_runs(
        options.trainers,
        options.plans,
        options.folds,
        options.seeds,
        folder=os.path.abspath(options.output),
        dataset=dataset_name(options.dataset),
        configuration=options.configuration,
        epochs=options.epochs,
        iterations=options.iterations,
        val_iterations=options.val_iterations,
        device=options.device,
        processes=options.processes,
    )
    if options.dry_run:
        print("\n".join(commands(runs)))
        return
    execute = SlurmQueue(options.slurm, Path(runs[0].folder)).execute_all if options.slurm else None
    outcome = compare_trainers(runs, options.only, heldout, execute)
    if outcome.text:
        print(outcome.text)
    if outcome.failures:
        raise UserError(f"{len(outcome.failures)} failed, as told above; the same command goes on with them.")
