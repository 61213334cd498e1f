"""`h2aseg explain`: options and call."""

import argparse

from h2aseg_nnunet.petct.options import (
    Parser,
    add_continue,
    add_images,
    add_model,
    add_overlay,
    add_prediction,
    finite,
)


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    add_model(parser)
    add_images(parser, help="FOLDER/case for one case, case_0000.nii.gz, ..., or a folder for all cases in it.")
    parser.add_argument(
        "-o", dest="output", required=True, metavar="FOLDER", help="Folder in which each case gets a folder of its own."
    )
    parser.add_argument("-f", dest="fold", help="Fold to explain: 0, 1, ... or all (default: the first trained).")
    add_prediction(parser)
    parser.add_argument(
        "-prev_stage_predictions", metavar="FOLDER", help="Segmentations by the previous stage, for a cascade."
    )
    parser.add_argument(
        "--voxel",
        type=int,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="Index, from 0, of the voxel whose attention is shown (default: middle of the largest predicted lesion).",
    )
    parser.add_argument(
        "--point",
        type=finite,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="The same voxel by its position in mm, to the left, back and head (LPS).",
    )
    add_continue(parser, "explanations")
    add_overlay(parser)


def run(options: argparse.Namespace) -> None:
    """Explain the cases and say where each explanation lies."""
    from h2aseg_nnunet.explain.model import load_model  # torch takes seconds to import
    from h2aseg_nnunet.explain.run import ExplanationSettings, explain_cases

    model = load_model(options.model, options.fold, options.checkpoint, options.device, options.step_size)
    settings = ExplanationSettings(options.voxel, options.point, options.prev_stage_predictions, options.max_suv)
    for folder in explain_cases(model, options.images, options.output, settings, options.continue_prediction):
        print(f"Explanation: {folder}")
