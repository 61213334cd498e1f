"""`h2aseg robustness`: options and call."""

import argparse
from pathlib import Path

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.options import (
    Parser,
    add_continue,
    add_folds,
    add_images,
    add_model,
    add_prediction,
    add_processes,
    add_scheduler,
    finite,
)


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    add_model(parser)
    add_images(parser)
    parser.add_argument(
        "-r", dest="references", required=True, metavar="FOLDER", former=("-gt",), help="Reference masks of the images."
    )
    parser.add_argument(
        "-o", dest="output", required=True, metavar="FOLDER", help="New folder, or an earlier report to replace."
    )
    add_folds(parser, "Folds to average, as in nnUNetv2_predict (default: all that are trained).")
    parser.add_argument(
        "--disable_tta", action="store_true", help="Predict without mirroring, which is faster and less accurate."
    )
    parser.add_argument(
        "--shifts",
        type=finite,
        nargs="*",
        default=[1, 2, 4],
        metavar="VOXELS",
        help="Shifts of the CT in preprocessed voxels (default: 1 2 4).",
    )
    add_prediction(parser)
    add_continue(parser, "predictions")
    add_processes(parser, default=3)
    add_scheduler(parser)


def run(options: argparse.Namespace) -> None:
    """Predict under every condition, and write the tables and the picture.

    Raises:
        UserError: If a case could not be predicted; the others are in the tables.
    """
    from h2aseg_nnunet.petct.cluster.connect import workers_of
    from h2aseg_nnunet.petct.nnunet.models import find_folds  # torch takes seconds to import
    from h2aseg_nnunet.petct.robustness.predict import PredictionSettings
    from h2aseg_nnunet.petct.robustness.run import measure_robustness
    from h2aseg_nnunet.petct.robustness.text import write

    output = Path(options.output)
    with workers_of(options, reads=("model", "images", "references"), writes=("output",)):
        model = Path(options.model)
        settings = PredictionSettings(
            model=str(model.resolve()),
            images=str(Path(options.images).resolve()),
            folds=find_folds(model, options.folds, options.checkpoint),
            checkpoint=options.checkpoint,
            step_size=options.step_size,
            mirroring=not options.disable_tta,
        )
        robustness = measure_robustness(
            settings,
            options.references,
            options.output,
            options.shifts,
            options.device,
            options.processes,
            options.continue_prediction,
        )
    print(write(robustness, output))
    print(f"Picture: {output / 'robustness.png'}")
    if robustness.failed:
        reasons = "; ".join(f"{name}: {why}" for name, why in sorted(robustness.failed.items()))
        raise UserError(f"{len(robustness.failed)} cases were not predicted and are left out: {reasons}.")
