"""`h2aseg plan`: options and call."""

import argparse

from h2aseg_nnunet.petct.options import Parser, add_processes, positive


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    parser.add_argument("-d", dest="dataset_id", type=int, required=True, metavar="ID", help="Number of a raw dataset.")
    parser.add_argument(
        "-gpu_memory_target", type=positive, required=True, metavar="GB", help="Memory of the GPU to train on."
    )
    parser.add_argument(
        "-c",
        dest="configurations",
        nargs="+",
        default=(),
        choices=("2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres"),
        help="Configurations to write (default: all that nnU-Net plans for the dataset).",
    )
    parser.add_argument(
        "-tr", dest="trainer", default="nnUNetTrainerH2ASeg", help="H2ASeg trainer to plan for (default: %(default)s)."
    )
    add_processes(parser, default=2)


def run(options: argparse.Namespace) -> None:
    """Plan, and print the configurations and the next commands."""
    from h2aseg_nnunet.planning.plan_dataset import plan_dataset  # torch takes seconds to import

    file, plans = plan_dataset(
        options.dataset_id, options.gpu_memory_target, options.trainer, options.configurations, options.processes
    )
    print(f"\n{'configuration':15}{'patch size':>18}{'batch size':>12}   estimated GPU memory")
    for name, plan in plans["configurations"].items():
        if "estimated_gpu_memory_gb" in plan:
            patch = " x ".join(str(extent) for extent in plan["patch_size"])
            print(f"{name:15}{patch:>18}{plan['batch_size']:>12}   {plan['estimated_gpu_memory_gb']:.1f} GB")
    print(f"\nPlans: {file}")
    train = f"{options.dataset_id} CONFIGURATION FOLD -tr {options.trainer} -p {file.stem}"
    print(f"Next:  nnUNetv2_preprocess -d {options.dataset_id} -plans_name {file.stem} -c CONFIGURATION")
    print(f"       nnUNetv2_train {train}")
