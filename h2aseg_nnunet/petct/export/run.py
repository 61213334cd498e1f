"""Write a model as nnU-Net's zip and as a folder in Hugging Face's layout; both hold the same files and checksums."""

import shutil
import zipfile
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from h2aseg_nnunet import __version__
from h2aseg_nnunet.petct.export.facts import (
    METRICS,
    SUMMARY,
    Names,
    names_of,
    read_checkpoint,
    read_summaries,
    splits_of,
    training_of,
    validation,
)
from h2aseg_nnunet.petct.files import OutputFolder, read_json, replacing, write_json, write_text
from h2aseg_nnunet.petct.nnunet.exported import MANIFEST, checksum
from h2aseg_nnunet.petct.nnunet.models import find_folds
from h2aseg_nnunet.petct.own_files import OwnFiles
from h2aseg_nnunet.petct.plain_templates import render
from h2aseg_nnunet.petct.tables import to_markdown, with_interval

MARK = "export.json"
CARD = "README.md"
FINGERPRINT, SPLITS, VALIDATION = "dataset_fingerprint.json", "splits_final.json", "validation_summary.json"
NOTE = "For research, not for diagnosis."


class Card(NamedTuple):
    """What no file knows.

    Attributes:
        license: License of the weights.
        use: What the model is meant for; None for a sentence that promises little.
        hardware: What it was trained on; None for what nnU-Net noted.
    """

    license: str
    use: str | None = None
    hardware: str | None = None


class Exported(NamedTuple):
    """What was written.

    Attributes:
        archive: nnU-Net's zip.
        folder: The folder for Hugging Face.
        notes: What is missing in them, as sentences.
    """

    archive: Path
    folder: Path
    notes: list[str]


def export_model(
    model: Path, output: Path, card: Card, folds: tuple[str, ...] = (), checkpoint: str = "checkpoint_final.pth"
) -> Exported:
    """Export a model.

    Args:
        model: nnU-Net's results folder of one model.
        output: New folder, or that of an earlier export of the same model.
        card: What no file knows.
        folds: Folds to hand on; empty for all that are trained.
        checkpoint: Name of the checkpoint's file.

    Raises:
        UserError: If files are missing or damaged, or the folder holds something else.
    """
    chosen = find_folds(model, folds, checkpoint)
    heads = [read_checkpoint(model / f"fold_{fold}" / checkpoint) for fold in chosen]
    names = names_of(read_json(model / "plans.json"), heads[0])
    OutputFolder(output, MARK, "an export of a model", ("model",)).claim({"model": names.folder.as_posix()})
    folder = output / "huggingface"
    partial = output / ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        notes, figures = _collect(partial, model, chosen, checkpoint, names)
        _write_card(partial, model, chosen, heads, names, card, figures)
        _write_manifest(partial)
        archive = output / f"{'__'.join(names.folder.parts)}.zip"
        _write_zip(archive, partial, names)
        OwnFiles(folder).take(partial, last=MANIFEST)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Exported(archive, folder, notes)


def _collect(
    folder: Path, model: Path, folds: list[str], checkpoint: str, names: Names
) -> tuple[list[str], dict[str, Any]]:
    """Copy the files of the model, say which are not there, and summarize the validation."""
    notes = []
    wanted: dict[str, Path | None] = {
        **{name: model / name for name in ("plans.json", "dataset.json", FINGERPRINT)},
        **{f"fold_{fold}/{checkpoint}": model / f"fold_{fold}" / checkpoint for fold in folds},
        SPLITS: splits_of(model, names.dataset),
    }
    for name, source in wanted.items():
        if source is None or not source.is_file():
            notes.append(f"{name} was not found and is not in the export.")
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / name)
    summaries = read_summaries(model, folds)
    for fold, summary in summaries.items():
        write_json(folder / f"fold_{fold}" / SUMMARY, summary)
    lacking = [fold for fold in folds if fold not in summaries]
    if lacking:
        notes.append(f"folds {', '.join(lacking)} have no validation: nnUNetv2_train --val makes it.")
    figures = validation(summaries, read_json(model / "dataset.json")["labels"])
    if summaries:
        write_json(folder / VALIDATION, figures)
    return notes, figures


def _write_card(
    folder: Path,
    model: Path,
    folds: list[str],
    heads: list[dict[str, Any]],
    names: Names,
    card: Card,
    figures: dict[str, Any],
) -> None:
    dataset, plans = read_json(model / "dataset.json"), read_json(model / "plans.json")
    configuration = plans["configurations"][names.configuration]
    training = training_of(model, folds, heads)
    about = {
        "card": card,
        "configuration": configuration,
        "dataset": dataset,
        "figures": figures,
        "folds": folds,
        "hardware": card.hardware or ", ".join(training.hardware) or "not noted",
        "manifest": MANIFEST,
        "names": names,
        "network": ", ".join(training.networks) or "not noted",
        "note": NOTE,
        "present": sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()),
        "results": _results(figures) if figures["num_cases"] else "",
        "training": training,
        "version": __version__,
    }
    template = files(__package__).joinpath("templates", CARD).read_text("utf-8")
    write_text(folder / CARD, render(template, about))


def _results(figures: dict[str, Any]) -> str:
    """A table of the validation's metrics."""
    rows = []
    for label, metrics in figures["labels"].items():
        defined = figures["num_cases"] - metrics[METRICS[0]]["undefined"]
        shown = (with_interval(metrics[metric], ".3f") for metric in METRICS)
        rows.append([label, *shown, str(defined)])
    return to_markdown(["label", *METRICS, "cases"], rows)


def _write_manifest(folder: Path) -> None:
    """List every file but the card, which is meant to be edited."""
    listed = sorted(file for file in folder.rglob("*") if file.is_file() and file != folder / CARD)
    lines = [f"{checksum(file)}  {file.relative_to(folder).as_posix()}\n" for file in listed]
    write_text(folder / MANIFEST, "".join(lines))


def _write_zip(archive: Path, folder: Path, names: Names) -> None:
    """Write the zip that nnUNetv2_install_pretrained_model_from_zip reads, with checksums and card in it."""
    with replacing(archive) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as stream:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                stream.write(file, names.folder / file.relative_to(folder))
