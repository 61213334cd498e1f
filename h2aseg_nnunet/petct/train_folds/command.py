"""`h2aseg train-folds`: options and call."""

import argparse

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.options import Parser, add_slurm


def add_arguments(parser: Parser) -> None:
    """Add the options, spelled as in nnUNetv2_train where it has them."""
    parser.add_argument("-d", dest="dataset", required=True, help="Number or name of a preprocessed dataset.")
    parser.add_argument(
        "-c", dest="configuration", required=True, help="Configuration of the plans: 2d, 3d_fullres, ..."
    )
    parser.add_argument("-tr", dest="trainer", default="nnUNetTrainer", help="Trainer (default: %(default)s).")
    parser.add_argument("-p", dest="plans", default="nnUNetPlans", help="Plans (default: %(default)s).")
    parser.add_argument(
        "--folds", nargs="+", type=int, default=[0, 1, 2, 3, 4], metavar="FOLD", help="Folds (default: 0 1 2 3 4)."
    )
    parser.add_argument("--npz", action="store_true", help="Keep probabilities, for ensembles of configurations.")
    parser.add_argument(
        "-device", default="cuda", choices=("cuda", "cpu", "mps"), help="Device to train on (default: %(default)s)."
    )
    add_slurm(parser, "the folds")


def run(options: argparse.Namespace) -> None:
    """Train what is not finished, and print nnU-Net's instructions for inference.

    Raises:
        UserError: If a fold failed; the others are trained.
    """
    from h2aseg_nnunet.petct.cluster.slurm import SlurmQueue  # nnU-Net and torch take seconds to import
    from h2aseg_nnunet.petct.execute import execute_all
    from h2aseg_nnunet.petct.nnunet.folders import dataset_name, results_root
    from h2aseg_nnunet.petct.train_folds.run import Training, train_folds

    twice = [fold for fold in options.folds if options.folds.count(fold) > 1]
    if twice:
        raise UserError(f"--folds: {twice[0]} is named twice.")
    trainings = [
        Training(
            str(results_root()),
            dataset_name(options.dataset),
            options.configuration,
            options.trainer,
            options.plans,
            fold,
            options.device,
            options.npz,
        )
        for fold in options.folds
    ]
    queue = SlurmQueue(options.slurm, trainings[0].model) if options.slurm else None
    instructions = train_folds(trainings, queue.execute_all if queue else execute_all)
    print(instructions.read_text())
    print(f"Instructions: {instructions}")
