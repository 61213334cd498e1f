"""The `h2aseg` command: parses, calls, reports; no logic of its own."""

import argparse
import os
import sys
from collections.abc import Sequence

from h2aseg_nnunet import __version__
from h2aseg_nnunet._register import trainer_path

Subparsers = argparse._SubParsersAction


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; a user's mistake is one line on standard error and exit code 1.

    A subcommand may return an exit code of its own.
    """
    options = _parser().parse_args(arguments)
    try:
        exit_code: int | None = options.run(options)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"h2aseg {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nh2aseg {options.command}: interrupted; run the same command again.", file=sys.stderr)
        return 130
    return exit_code or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="h2aseg", description="H2ASeg for PET/CT inside nnU-Net.")
    parser.add_argument("--version", action="version", version=f"h2aseg_nnunet {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add_command in (
        _add_demo,
        _add_convert,
        _add_check,
        _add_plan,
        _add_evaluate,
        _add_report,
        _add_explain,
        _add_compare,
        _add_robustness,
        _add_trainer_path,
    ):
        add_command(commands)
    return parser


def _add_demo(commands: Subparsers) -> None:
    demo = commands.add_parser("demo", help="synthetic PET/CT, nnU-Net's commands with H2ASeg, and a picture")
    demo.add_argument("-o", dest="output", default="h2aseg_demo", help="folder for everything (default: %(default)s)")
    demo.add_argument("--seed", type=int, default=0, help="of the synthetic patients (default: %(default)s)")
    demo.add_argument("-device", default="auto", choices=("auto", "cpu", "cuda"), help="default: a GPU if any")
    demo.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> None:
    from h2aseg_nnunet.demo.run import run_demo  # torch takes seconds to import

    result = run_demo(options.output, seed=options.seed, device=options.device)
    print(f"\nMean Dice on the held-out cases: H2ASeg {result.h2aseg_dice:.3f}")
    print(f"                                 SUV >= {result.threshold_suv:g} {result.threshold_dice:.3f}")
    print(f"Picture: {result.picture}\nEverything the demo wrote: {result.folder}")


def _add_convert(commands: Subparsers) -> None:
    convert = commands.add_parser("convert", help="AutoPET, HECKTOR or your own CT/PET pairs as an nnU-Net dataset")
    layouts = convert.add_subparsers(dest="layout", required=True, metavar="LAYOUT")
    autopet = layouts.add_parser("autopet", help="AutoPET: PETCT_<id>/<study>/ folders, or imagesTr and labelsTr")
    autopet.add_argument("source", metavar="SRC", help="folder of the challenge's data")
    hecktor = layouts.add_parser("hecktor", help="HECKTOR: <PatientID>__CT.nii.gz, or <PatientID>_ct.nii.gz of 2021")
    hecktor.add_argument("source", metavar="SRC", help="folder of the challenge's data")
    hecktor.add_argument("--bounding-boxes", metavar="CSV", help="crop to the boxes that HECKTOR 2021 delivered")
    pairs = layouts.add_parser("pairs", help="your own: a table with the columns case, ct, pet[, label][, patient]")
    pairs.add_argument("source", metavar="CSV", help="table of paths, relative to its own folder")
    pairs.add_argument("--labels", nargs="+", default=["tumor"], metavar="NAME", help="of label 1, 2, ... in its maps")
    for layout in (hecktor, pairs):
        layout.add_argument(
            "--spacing", type=float, nargs="+", metavar="MM", help="one or three (x y z) voxel sizes; default: the CT's"
        )
    for layout in (autopet, hecktor, pairs):
        layout.add_argument("-d", dest="dataset_id", type=int, required=True, metavar="ID", help="nnU-Net's number")
        layout.add_argument("--name", help="of the dataset, after DatasetID_ (default: the collection's)")
        layout.add_argument("-np", dest="processes", type=int, default=4, help="processes (default: %(default)s)")
        layout.add_argument("--link", action="store_true", help="symbolic links where a file needs no change")
        layout.add_argument(
            "--pet-channel",
            choices=("CT", "PET"),
            default="CT",
            help="name of channel 1, from which nnU-Net chooses: CT = one scale for the whole dataset, keeps SUV "
            "comparable (default); PET = every image by itself",
        )
        layout.add_argument("--overwrite", action="store_true", help="start anew where an earlier conversion lies")
    convert.set_defaults(run=_convert)


def _convert(options: argparse.Namespace) -> None:
    from h2aseg_nnunet.petct.convert import autopet, hecktor, pairs  # SimpleITK and pandas take a second to import
    from h2aseg_nnunet.petct.convert.plan import Options
    from h2aseg_nnunet.petct.convert.run import convert

    plans = {
        "autopet": lambda: autopet.plan(options.source),
        "hecktor": lambda: hecktor.plan(options.source, options.bounding_boxes),
        "pairs": lambda: pairs.plan(options.source, options.labels),
    }
    spacing = getattr(options, "spacing", None)
    spacing_mm = tuple(spacing * 3 if len(spacing) == 1 else spacing) if spacing else None
    how = Options(spacing_mm, options.link, options.pet_channel)
    plan = plans[options.layout]()
    print(f"{plan.source}: {plan.layout}, {len(plan.cases)} studies of {plan.num_patients} patients")
    summary = convert(plan, options.dataset_id, how, options.name, options.processes, options.overwrite)
    print("\n".join(summary.lines()))
    if summary.refused:
        raise RuntimeError(f"{len(summary.refused)} of {len(summary.records)} cases were refused, as listed above.")


def _add_check(commands: Subparsers) -> None:
    check = commands.add_parser("check", help="faults and suspicions in a raw dataset or in inputs for prediction")
    where = check.add_mutually_exclusive_group(required=True)
    where.add_argument("-d", dest="dataset", metavar="DATASET", help="number or name of a dataset in nnUNet_raw")
    where.add_argument("-i", dest="inputs", metavar="FOLDER", help="images for prediction, case_0000.nii.gz ...")
    check.add_argument(
        "--dataset_json", metavar="FILE", help="with -i: of the model (default: beside the images, else CT and PET)"
    )
    check.add_argument(
        "--json", nargs="?", const="-", metavar="FILE", help="findings as JSON, into FILE or instead of the lines"
    )
    check.add_argument("--notes", action="store_true", help="also what is unusual but may be right: no lesion, ...")
    check.add_argument("-np", dest="processes", type=int, default=4, help="processes (default: %(default)s)")
    check.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    from h2aseg_nnunet.petct.check import run as check_dataset  # SimpleITK and scipy take a second to import
    from h2aseg_nnunet.petct.check.findings import as_text, write_json

    if options.dataset_json and not options.inputs:
        raise ValueError("--dataset_json goes with -i; a raw dataset has its own.")
    if options.inputs:
        outcome = check_dataset.check_inputs(options.inputs, options.dataset_json, options.processes)
    else:
        outcome = check_dataset.check_raw_dataset(options.dataset, options.processes)
    if options.json and options.json != "-":
        write_json(outcome, options.json)
    print(as_text(outcome) if options.json == "-" else "\n".join(outcome.lines(options.notes)))
    return outcome.exit_code


def _add_evaluate(commands: Subparsers) -> None:
    evaluate = commands.add_parser(
        "evaluate", help="the numbers that AutoPET and HECKTOR publish, from folders of masks"
    )
    evaluate.add_argument("references", metavar="REF_DIR", help="reference masks, case.nii.gz")
    evaluate.add_argument("predictions", metavar="PRED_DIR", help="predicted masks of the same names")
    evaluate.add_argument(
        "--metrics",
        required=True,
        choices=("autopet", "autopet2", "hecktor22", "hecktor25", "lesion"),
        help="autopet: AutoPET III/IV; autopet2: the unguarded script of I/II; lesion: detection of lesions",
    )
    evaluate.add_argument("-o", metavar="JSON", help="everything, undefined values as null; replaces an evaluation")
    evaluate.add_argument("--csv", metavar="CSV", help="one row per case; replaces an evaluation")
    evaluate.add_argument(
        "--suv", metavar="PET_DIR", help="PET in SUV, case_0001.nii.gz or case.nii.gz: tumour volume, TLG, SUVmax"
    )
    evaluate.add_argument("--iou", type=float, help="for lesion: overlap that finds a lesion (default: one voxel)")
    evaluate.add_argument("--surface", type=float, metavar="MM", help="HD95, and surface Dice at this tolerance")
    evaluate.add_argument(
        "--missing",
        choices=("error", "empty", "skip"),
        help="references without prediction: refuse, count as empty, leave out (default: error; for HECKTOR empty)",
    )
    evaluate.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)")
    evaluate.add_argument("-np", dest="processes", type=int, default=4, help="processes (default: %(default)s)")
    evaluate.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    from h2aseg_nnunet.petct.evaluate import table  # SimpleITK and SciPy take a second to import
    from h2aseg_nnunet.petct.evaluate.run import Settings, evaluate_folders

    table.check_outputs(options.o, options.csv)
    evaluation = evaluate_folders(
        options.references,
        options.predictions,
        Settings(options.metrics, minimum_iou=options.iou, tolerance_mm=options.surface),
        pet_dir=options.suv,
        missing=options.missing,
        num_processes=options.processes,
        seed=options.seed,
    )
    print(table.to_text(evaluation))
    table.write(evaluation, options.o, options.csv)


def _add_plan(commands: Subparsers) -> None:
    plan = commands.add_parser("plan", help="nnU-Net plans whose patch and batch size fill the GPU with H2ASeg")
    plan.add_argument("-d", dest="dataset_id", type=int, required=True, help="number of a raw nnU-Net dataset")
    plan.add_argument(
        "-gpu_memory_target", type=float, required=True, metavar="GB", help="memory of the GPU to train on"
    )
    plan.add_argument(
        "-c",
        dest="configurations",
        nargs="+",
        default=(),
        choices=("2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres"),
        help="configurations to write (default: all that nnU-Net plans for the dataset)",
    )
    plan.add_argument(
        "-tr", dest="trainer", default="nnUNetTrainerH2ASeg", help="H2ASeg trainer to plan for (default: %(default)s)"
    )
    plan.add_argument(
        "-np", type=int, default=2, help="processes for the dataset's fingerprint, where missing (default: %(default)s)"
    )
    plan.set_defaults(run=_plan)


def _plan(options: argparse.Namespace) -> None:
    from h2aseg_nnunet.planning.plan_dataset import plan_dataset  # torch takes seconds to import

    file, plans = plan_dataset(
        options.dataset_id, options.gpu_memory_target, options.trainer, options.configurations, options.np
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


def _add_report(commands: Subparsers) -> None:
    report = commands.add_parser("report", help="pages that show what was found, missed and falsely predicted")
    report.add_argument("-i", dest="images", required=True, help="folder with case_0000 (CT) and case_0001 (PET, SUV)")
    report.add_argument("-p", dest="predictions", required=True, help="folder of nnUNetv2_predict or of a validation")
    report.add_argument("-r", dest="references", help="folder of reference masks, e.g. labelsTr")
    report.add_argument("-o", dest="output", required=True, help="new folder, or an earlier report to bring up to date")
    report.add_argument("--dataset_json", help="default: beside the predictions, else beside the folder of images")
    report.add_argument("-np", dest="processes", type=int, default=4, help="cases at a time (default: %(default)s)")
    report.add_argument("--max_suv", type=float, default=10.0, help="black in the PET (default: %(default)s)")
    report.add_argument(
        "--num_lesions",
        type=int,
        default=3,
        help="slices through so many of the largest lesions found, missed and false (default: %(default)s)",
    )
    report.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> None:
    from h2aseg_nnunet.petct.evaluate.pairing import listing  # SciPy and matplotlib take a second to import
    from h2aseg_nnunet.petct.report.case_page import Settings
    from h2aseg_nnunet.petct.report.run import make_report

    result = make_report(
        options.images,
        options.predictions,
        options.output,
        options.references,
        options.dataset_json,
        Settings(options.max_suv, options.num_lesions),
        options.processes,
    )
    for note, names in result.notes.items():
        print(f"{note}: {listing(names)}")
    print(f"Open {result.page}")
    if result.failed:
        raise RuntimeError(f"{len(result.failed)} predictions could not be shown: {listing(result.failed)}.")


def _add_explain(commands: Subparsers) -> None:
    explain = commands.add_parser("explain", help="on what the network based a prediction: maps, figures and numbers")
    explain.add_argument(
        "-m",
        dest="model",
        required=True,
        metavar="MODEL_FOLDER",
        help="nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION",
    )
    explain.add_argument(
        "-i", dest="case", required=True, help="FOLDER/case for case_0000.nii.gz ..., or a folder: all cases in it"
    )
    explain.add_argument("-o", dest="output", required=True, help="folder; each case gets a folder of its own in it")
    explain.add_argument("-f", dest="fold", help="0, 1, ... or all (default: the first that is trained)")
    explain.add_argument("-chk", dest="checkpoint", default="checkpoint_final.pth", help="(default: %(default)s)")
    explain.add_argument("-step_size", type=float, default=0.5, help="of the sliding window (default: %(default)s)")
    explain.add_argument(
        "-device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="default: a GPU if any"
    )
    explain.add_argument(
        "-prev_stage_predictions", metavar="FOLDER", help="segmentations by the previous stage, for a cascade"
    )
    explain.add_argument(
        "--continue_prediction", "--c", action="store_true", help="keep finished explanations (default: replace them)"
    )
    explain.add_argument(
        "--voxel",
        type=int,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="index, from 0, of the voxel whose attention is shown (default: middle of the largest predicted lesion)",
    )
    explain.add_argument(
        "--point", type=float, nargs=3, metavar=("X", "Y", "Z"), help="the same in mm, to left, back and head (LPS)"
    )
    explain.add_argument("--max_suv", type=float, default=10.0, help="black in the figures' PET (default: %(default)s)")
    explain.set_defaults(run=_explain)


def _explain(options: argparse.Namespace) -> None:
    from h2aseg_nnunet.explain.model import load_model
    from h2aseg_nnunet.explain.run import Settings, explain  # torch takes seconds to import

    model = load_model(options.model, options.fold, options.checkpoint, options.device, options.step_size)
    settings = Settings(options.voxel, options.point, options.prev_stage_predictions, options.max_suv)
    for folder in explain(model, options.case, options.output, settings, options.continue_prediction):
        print(f"Explanation: {folder}")


def _add_compare(commands: Subparsers) -> None:
    compare = commands.add_parser("compare", help="trainers on identical folds, seeds and schedule, with statistics")
    compare.add_argument("-d", dest="dataset", required=True, help="number or name of a preprocessed dataset")
    compare.add_argument("-c", dest="configuration", required=True, help="2d, 3d_fullres, ...")
    compare.add_argument(
        "--trainers",
        nargs="+",
        required=True,
        metavar="TRAINER[:PLANS]",
        help="the first is the reference; e.g. nnUNetTrainer nnUNetTrainer:nnUNetResEncUNetMPlans nnUNetTrainerH2ASeg",
    )
    compare.add_argument("-p", dest="plans", default="nnUNetPlans", help="where none is named (default: %(default)s)")
    compare.add_argument("--folds", nargs="+", type=int, default=[0, 1, 2, 3, 4], help="(default: 0 1 2 3 4)")
    compare.add_argument("--seeds", nargs="+", type=int, default=[0], help="of weights and data order (default: 0)")
    compare.add_argument("--epochs", type=int, default=1000, help="of every trainer (default: %(default)s)")
    compare.add_argument("--iterations", type=int, default=250, help="of an epoch (default: %(default)s)")
    compare.add_argument(
        "--val-iterations", type=int, default=50, help="of an epoch's pseudo Dice (default: %(default)s)"
    )
    compare.add_argument(
        "-o", dest="output", default="h2aseg_compare", help="folder for everything (default: %(default)s)"
    )
    compare.add_argument(
        "-device", "--device", default="auto", choices=("auto", "cuda", "cpu", "mps"), help="default: a GPU if any"
    )
    compare.add_argument("-i", dest="images", metavar="FOLDER", help="held-out images: compare on them, folds together")
    compare.add_argument("-gt", dest="references", metavar="FOLDER", help="with -i: their reference masks")
    compare.add_argument("--disable_tta", action="store_true", help="with -i: predict without mirroring, much faster")
    compare.add_argument("-np", dest="processes", type=int, default=4, help="for evaluation (default: %(default)s)")
    compare.add_argument("--dry-run", action="store_true", help="only print a command for each run, to run anywhere")
    compare.add_argument("--only", choices=("runs", "table"), help="leave out the table, or run nothing")
    compare.set_defaults(run=_compare)


def _compare(options: argparse.Namespace) -> None:
    from h2aseg_nnunet.petct.compare import run as compare  # torch takes seconds to import
    from h2aseg_nnunet.petct.compare.check import dataset_name
    from h2aseg_nnunet.petct.compare.runs import make_runs

    if (options.images is None) != (options.references is None):
        raise ValueError("-i and -gt go together: held-out images and their reference masks.")
    if options.disable_tta and options.images is None:
        raise ValueError("--disable_tta is for the held-out images of -i; nnU-Net's validation mirrors.")
    heldout = (
        compare.HeldOut(
            os.path.abspath(options.images), os.path.abspath(options.references), mirroring=not options.disable_tta
        )
        if options.images
        else None
    )
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
        print("\n".join(compare.commands(runs)))
        return
    outcome = compare.compare(runs, options.only, heldout)
    if outcome.text:
        print(outcome.text)
    if outcome.failures:
        raise RuntimeError(f"{len(outcome.failures)} failed, as told above; the same command goes on with them.")


def _add_robustness(commands: Subparsers) -> None:
    robustness = commands.add_parser("robustness", help="what a missing PET or CT, or a shifted CT, costs a model")
    robustness.add_argument(
        "-m",
        dest="model",
        required=True,
        metavar="MODEL_FOLDER",
        help="nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION, of any trainer",
    )
    robustness.add_argument("-i", dest="images", required=True, metavar="FOLDER", help="case_0000.nii.gz ...")
    robustness.add_argument("-gt", dest="references", required=True, metavar="FOLDER", help="their reference masks")
    robustness.add_argument("-o", dest="output", required=True, help="new folder, or an earlier report to replace")
    robustness.add_argument(
        "-f", dest="folds", nargs="+", help="averaged as in nnUNetv2_predict (default: all that are trained)"
    )
    robustness.add_argument("-chk", dest="checkpoint", default="checkpoint_final.pth", help="(default: %(default)s)")
    robustness.add_argument("-step_size", type=float, default=0.5, help="of the sliding window (default: %(default)s)")
    robustness.add_argument("--disable_tta", action="store_true", help="without mirroring: faster, less accurate")
    robustness.add_argument(
        "-device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="default: a GPU if any"
    )
    robustness.add_argument(
        "--shifts",
        type=float,
        nargs="*",
        default=[1, 2, 4],
        metavar="VOXELS",
        help="of the CT, in preprocessed voxels (default: 1 2 4)",
    )
    robustness.add_argument(
        "--continue_prediction", "--c", action="store_true", help="keep finished predictions (default: replace them)"
    )
    robustness.add_argument(
        "-np", dest="processes", type=int, default=3, help="for export and evaluation (default: %(default)s)"
    )
    robustness.set_defaults(run=_robustness)


def _robustness(options: argparse.Namespace) -> None:
    from pathlib import Path

    from h2aseg_nnunet.petct.robustness.model import Settings, find_folds  # torch takes seconds to import
    from h2aseg_nnunet.petct.robustness.run import measure_robustness
    from h2aseg_nnunet.petct.robustness.text import write

    model, output = Path(options.model), Path(options.output)
    settings = Settings(
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
        output,
        options.shifts,
        options.device,
        options.processes,
        options.continue_prediction,
    )
    print(write(robustness, output))
    print(f"Picture: {output / 'robustness.png'}")


def _add_trainer_path(commands: Subparsers) -> None:
    path = commands.add_parser(
        "trainer-path", help="directory for `export nnUNet_extTrainer=...` where no start-up file runs"
    )
    path.set_defaults(run=lambda options: print(trainer_path()))


if __name__ == "__main__":
    sys.exit(main())
