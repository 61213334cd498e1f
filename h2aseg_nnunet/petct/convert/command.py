"""`h2aseg convert`: options and call."""

import argparse
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.options import Parser, add_processes, add_scheduler, check_grid

if TYPE_CHECKING:
    from h2aseg_nnunet.petct.convert.plan import Plan


def add_arguments(parser: Parser) -> None:
    """Add the layouts, each with its options."""
    layouts = parser.add_subparsers(dest="layout", required=True, metavar="LAYOUT")
    for name, sentence, add_options in (
        ("autopet", "AutoPET: PETCT_<id>/<study>/ folders, or imagesTr and labelsTr.", _add_autopet),
        ("hecktor", "HECKTOR: <PatientID>__CT.nii.gz, or <PatientID>_ct.nii.gz of 2021.", _add_hecktor),
        ("pairs", "Your own data: a table with the columns case, ct, pet[, label][, patient].", _add_pairs),
        ("dicom", "DICOM studies in any order, with reference masks from SEG or RTSTRUCT.", _add_dicom),
    ):
        layout = layouts.add_parser(name, help=sentence, description=sentence)
        add_options(layout)
        _add_shared(layout)


def _add_autopet(layout: Parser) -> None:
    layout.add_argument("source", metavar="SRC", help="Folder of the challenge's data.")


def _add_hecktor(layout: Parser) -> None:
    layout.add_argument("source", metavar="SRC", help="Folder of the challenge's data.")
    layout.add_argument("--bounding-boxes", metavar="CSV", help="Crop to the boxes that HECKTOR 2021 delivered.")
    _add_spacing(layout)


def _add_pairs(layout: Parser) -> None:
    layout.add_argument("source", metavar="CSV", help="Table of paths, which are relative to its own folder.")
    layout.add_argument(
        "--labels", nargs="+", default=["tumor"], metavar="NAME", help="Names of label 1, 2, ... in the label maps."
    )
    _add_spacing(layout)


def _add_dicom(layout: Parser) -> None:
    layout.add_argument("source", metavar="EXPORT", help="Folder of DICOM files, for instance a PACS export.")
    layout.add_argument(
        "--labels", metavar="PATH", help="DICOM SEG or RTSTRUCT objects: a file, or a folder of them, matched by study."
    )
    layout.add_argument(
        "--roi",
        nargs="+",
        default=(),
        metavar="NAME",
        help="Segments or ROIs that are tumor, where an object has several.",
    )
    layout.add_argument(
        "--grid",
        default="pet",
        metavar="pet|ct|MM",
        help="Grid of CT and PET: the PET's, the CT's, or cubes of so many mm (default: %(default)s).",
    )
    layout.add_argument(
        "--weights",
        metavar="CSV",
        help="Table of what DICOM headers lack: study or patient, weight_kg, dose_mbq, injected.",
    )


def _add_spacing(layout: Parser) -> None:
    layout.add_argument(
        "--spacing", type=float, nargs="+", metavar="MM", help="One or three (x y z) voxel sizes (default: the CT's)."
    )


def _add_shared(layout: Parser) -> None:
    layout.add_argument("-d", dest="dataset_id", type=int, required=True, metavar="ID", help="Number of the dataset.")
    layout.add_argument("--name", help="Name of the dataset, after DatasetID_ (default: the collection's).")
    layout.add_argument("--link", action="store_true", help="Link files that need no change instead of copying them.")
    layout.add_argument(
        "--pet-channel",
        choices=("CT", "PET", "SUV"),
        default="CT",
        help="How nnU-Net normalizes PET: CT = clipped, on one scale for the whole dataset, which keeps SUV comparable "
        "(default); PET = every image by itself; SUV = not at all, H2ASeg compresses it.",
    )
    layout.add_argument(
        "--reorient",
        action="store_true",
        help="Exchange and flip axes, without interpolation, so that every case has the axes that most training cases "
        "have: nnU-Net does not turn images.",
    )
    layout.add_argument(
        "--overwrite",
        action="store_true",
        help="Make the dataset anew beside an earlier conversion, and put it into its place when it is whole.",
    )
    add_processes(layout, default=4)
    add_scheduler(layout)


def run(options: argparse.Namespace) -> None:
    """Plan the conversion and carry it out.

    Raises:
        UserError: If a study cannot be converted; the others are.
    """
    from h2aseg_nnunet.petct.convert import autopet, hecktor, pairs  # SimpleITK takes a second to import
    from h2aseg_nnunet.petct.convert.plan import ConversionOptions, Plan
    from h2aseg_nnunet.petct.convert.run import convert_plan

    plans: dict[str, Callable[[], Plan]] = {
        "autopet": lambda: autopet.plan(options.source),
        "hecktor": lambda: hecktor.plan(options.source, options.bounding_boxes),
        "pairs": lambda: pairs.plan(options.source, options.labels),
        "dicom": lambda: _plan_dicom(options),
    }
    spacing = getattr(options, "spacing", None)
    spacing_mm = tuple(spacing * 3 if len(spacing) == 1 else spacing) if spacing else None
    how = ConversionOptions(spacing_mm, options.link, options.pet_channel, options.reorient)
    with _workers(options, plans):
        plan = plans[options.layout]()
        print(f"{plan.source}: {plan.layout}, {len(plan.cases)} studies of {plan.num_patients} patients")
        summary = convert_plan(plan, options.dataset_id, how, options.name, options.processes, options.overwrite)
    print("\n".join(summary.lines()))
    if summary.refused:
        raise UserError(f"{len(summary.refused)} of {len(summary.records)} cases were refused, as listed above.")


def _workers(options: argparse.Namespace, plans: dict[str, Callable[[], "Plan"]]) -> AbstractContextManager[None]:
    """The workers of `--scheduler`, which must see the files of the first case, too: tables may name any folder."""
    from h2aseg_nnunet.petct.cluster.connect import workers_of
    from h2aseg_nnunet.petct.nnunet.folders import raw_root

    reads: list[str | Path] = ["source"]
    if options.scheduler and options.layout == "dicom":
        reads += ["labels"]
    elif options.scheduler:
        options.source = os.path.abspath(options.source)
        reads += [file for case in plans[options.layout]().cases[:1] for file in case.sources.values()]
    return workers_of(options, reads, writes=[raw_root()] if options.scheduler else [])


def _plan_dicom(options: argparse.Namespace) -> "Plan":
    """Extract the studies beside the dataset; nnU-Net passes over the hidden folder."""
    from h2aseg_nnunet.petct.dicom import require_dicom

    require_dicom()
    from h2aseg_nnunet.petct.convert import dicom  # pydicom and highdicom take a second to import
    from h2aseg_nnunet.petct.convert.raw_dataset import raw_folder

    dataset = raw_folder(options.dataset_id, options.name or "DICOM").path
    how = dicom.DicomOptions(check_grid(options.grid), options.labels, tuple(options.roi), options.weights)
    return dicom.plan(options.source, dataset.with_name(f".{dataset.name}.dicom"), how, options.processes)
