"""What a conversion writes when all cases are through: dataset.json and the folds."""

from hashlib import sha256
from typing import Any

from h2aseg_nnunet import __version__
from h2aseg_nnunet.errors import listing
from h2aseg_nnunet.modalities import CT, PET
from h2aseg_nnunet.petct.convert.axes import note_on_axes
from h2aseg_nnunet.petct.convert.ledger import Ledger
from h2aseg_nnunet.petct.convert.plan import ConversionOptions, Fold, Plan
from h2aseg_nnunet.petct.convert.raw_dataset import FILE_ENDING, RawFolder
from h2aseg_nnunet.petct.convert.record import is_as_written, mark_of
from h2aseg_nnunet.petct.convert.splits import Study, choose_folds
from h2aseg_nnunet.petct.files import as_json, read_json, write_json, write_text
from h2aseg_nnunet.petct.nnunet.dataset_json import read_dataset_json
from h2aseg_nnunet.petct.nnunet.folders import preprocessed_splits

MODALITIES = {str(CT): "CT in Hounsfield units", str(PET): "PET in SUV"}
NORMALIZATION = {
    "CT": 'Both channels are named "CT" because nnU-Net then clips and standardizes each by statistics of the whole '
    "dataset: a given SUV is the same input in every patient, whatever part of the body the scan covers.",
    "PET": 'Channel 1 is named "PET", so nnU-Net standardizes each PET image by its own mean and standard deviation: '
    "its scale need not be SUV, but SUVs are no longer comparable between patients.",
    "SUV": 'Channel 1 is named "noNorm", so nnU-Net leaves SUV as it is: neither clipped nor scaled. H2ASeg compresses '
    "it as its first operation; other networks read SUV itself.",
}


def publish(plan: Plan, ledger: Ledger, options: ConversionOptions) -> list[str]:
    """Write dataset.json and the folds of all cases that were converted; returns what a user should know."""
    if not ledger.done:
        return ["no case could be converted, so there is no dataset.json"]
    studies = {
        name: Study(record.patient, f"{record.stratum} {record.has_lesion}")
        for name, record in ledger.done.items()
        if record.training
    }
    _write_dataset_json(describe(plan, options, ledger.settings, len(studies)), ledger)
    folds, notes = choose_folds(studies, plan.folds)
    ledger.splits_sha256, others = publish_splits(folds, ledger.folder, ledger.splits_sha256)
    axes = note_on_axes(sorted(ledger.done.items()))
    return [*notes, *others, *axes, *_note_on_labels(plan, ledger), *_note_on_others(ledger)]


def describe(plan: Plan, options: ConversionOptions, settings: dict[str, Any], num_training: int) -> dict[str, Any]:
    """Return the content of dataset.json."""
    return {
        "channel_names": options.channel_names,
        "labels": {"background": 0} | plan.label_values,
        "numTraining": num_training,
        "file_ending": FILE_ENDING,
        "name": plan.name,
        "description": f"{plan.layout}, PET/CT on one grid. {NORMALIZATION[options.pet_channel]}",
        "reference": plan.reference,
        "converted_by": f"h2aseg convert, h2aseg_nnunet {__version__}",
        "modalities": MODALITIES,
        "conversion": settings,
    }


def publish_splits(folds: list[Fold], raw: RawFolder, earlier_sha256: str | None) -> tuple[str | None, list[str]]:
    """Write splits_final.json beside dataset.json and, if nnUNet_preprocessed is set, where nnU-Net's training looks.

    nnU-Net's planning copies the first to the second, but stops at a difference and is not run with plans from
    elsewhere. Another file that is already there stays, unless it is `earlier_sha256` of an earlier run and no
    preprocessed data lies beside it. Without folds, none of ours stay.

    Returns:
        The checksum of the written folds, and what a user should know.
    """
    elsewhere = preprocessed_splits(raw.path.name)
    files = [raw.splits, *([] if elsewhere is None else [elsewhere])]
    text = as_json(folds)
    notes = []
    for file in files:
        ours = file.is_file() and sha256(file.read_bytes()).hexdigest() == earlier_sha256
        unused = file == raw.splits or not any(other != file for other in file.parent.glob("*"))
        if folds and (not file.exists() or (ours and unused)):
            write_text(file, text)
        elif ours and unused:
            file.unlink()  # a single patient is left, who would be on both sides
        elif file.exists() and read_json(file) != folds:
            notes.append(
                f"{file} holds other folds and was left. If no training depends on it, remove it and run again."
            )
    return sha256(text.encode()).hexdigest() if folds else None, notes


def _write_dataset_json(description: dict[str, Any], ledger: Ledger) -> None:
    """Write dataset.json, but keep what a user has changed in it, for instance a channel's name."""
    file, ours = ledger.folder.dataset_json, True
    if file.is_file():
        ours = is_as_written(file, ledger.dataset_json)
        description |= read_dataset_json(file) | {"numTraining": description["numTraining"]}
    write_json(file, description)
    ledger.dataset_json = mark_of(file) if ours else None


def _note_on_labels(plan: Plan, ledger: Ledger) -> list[str]:
    """Say which labels are declared and never occur: perhaps their names are in the wrong order, or one too many."""
    volumes = [record.lesion_ml for record in ledger.done.values() if record.lesion_ml]
    absent = [name for name in plan.lesion_values if not any(ml.get(name, {}).get("source") for ml in volumes)]
    return [f"no case has a voxel of {listing(absent)}"] if volumes and absent else []


def _note_on_others(ledger: Ledger) -> list[str]:
    others = [str(file.relative_to(ledger.folder.path)) for file in ledger.other_files()]
    return [f"left as they are, since h2aseg convert did not write them: {listing(others)}"] if others else []
