"""What is written of a predicted case. A case's folder is complete or not there."""

import shutil
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from h2aseg_nnunet import __version__
from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.modalities import PET
from h2aseg_nnunet.petct.dicom.prepare import Prepared, onto_own_grid
from h2aseg_nnunet.petct.files import mark_of_writer, read_own_json, replacing, write_json
from h2aseg_nnunet.petct.images.grids import Grid, with_grid
from h2aseg_nnunet.petct.images.orientation import to_patient_axes
from h2aseg_nnunet.petct.nnunet.exports import Logits, export, probabilities_of
from h2aseg_nnunet.petct.own_files import OwnFiles
from h2aseg_nnunet.petct.plots import figure, save
from h2aseg_nnunet.petct.postprocess.reading import apply_to_image, classes_of
from h2aseg_nnunet.petct.postprocess.regions import Predicted as Ruleable
from h2aseg_nnunet.petct.postprocess.rules import NO_RULE, Rule
from h2aseg_nnunet.petct.postprocess.softmax import has_regions, tumor_of
from h2aseg_nnunet.petct.segment.lesion_table import measure_lesions, write_lesions

NOTE = "For research, not for diagnosis."
RECORD = "case.json"
TOTALS = ("case", "note", "num_lesions", "tmtv_ml", "tlg", "suv_max", "suv_peak")
PREVIEW_INCHES, TITLES_INCHES = 7.0, 0.6
"""Width of a preview, and what its titles add to the height of the bodies."""


class Outputs(NamedTuple):
    """What is written, and where.

    Attributes:
        folder: The output folder.
        types: "nifti", "dicom_seg", "dicom_rtstruct".
        preview: Whether a picture is drawn.
        statistics: Whether lesions and totals are written as JSON.
        max_suv: SUV drawn black in it.
        algorithm: Name of the model, for DICOM objects.
        classes: Values of the model's classes by name.
        file_ending: Ending of the model's masks.
        rule: Rule that masks go through.
    """

    folder: Path
    types: tuple[str, ...]
    preview: bool
    statistics: bool
    max_suv: float
    algorithm: str
    classes: dict[str, tuple[int, ...]]
    file_ending: str
    rule: Rule = NO_RULE

    def case_folder(self, name: str) -> Path:
        return self.folder / "cases" / name

    def network_mask(self, name: str) -> Path:
        """The mask on the grid of the network's images: nnUNetv2_predict's own output, unless there is a rule."""
        return self.folder / "masks" / f"{name}{self.file_ending}"


class Predicted(NamedTuple):
    """A case and what the network made of it."""

    prepared: Prepared
    logits: Logits
    findings: list[str]
    state: Any


class Outcome(NamedTuple):
    """What became of a case.

    Attributes:
        name: The case.
        refused: Why it could not be segmented; None if it was.
        record: What case.json holds.
        trace: Traceback of a fault of the program; empty for what the user can mend.
    """

    name: str
    refused: str | None
    record: dict[str, Any]
    trace: str = ""


def attempt(name: str, work: Any, *arguments: Any) -> Any:
    """Return what `work` makes of its arguments, or the outcome of a case that failed: the others go on."""
    try:
        return work(*arguments)
    except UserError as error:
        return Outcome(name, str(error), {})
    except Exception as error:  # a fault of the program in one case must not cost the cohort
        return Outcome(name, f"{type(error).__name__}: {error}", {}, traceback.format_exc())


def finish(predicted: Predicted, outputs: Outputs) -> Outcome:
    """Write the masks, tables and objects of a case, or say why not."""
    return attempt(predicted.prepared.input.name, _finish, predicted, outputs)


def _finish(predicted: Predicted, outputs: Outputs) -> Outcome:
    prepared = predicted.prepared
    name = prepared.input.name
    _forget(outputs.case_folder(name) / RECORD, predicted.state)
    export(predicted.logits)
    mask = SimpleITK.ReadImage(str(predicted.logits.file))
    pet = SimpleITK.ReadImage(str(prepared.images[PET]))
    suv = SimpleITK.GetArrayFromImage(pet)
    probabilities = probabilities_of(predicted.logits)
    tumor = tumor_of(probabilities, has_regions(predicted.logits.about[2]))
    if not outputs.rule.changes_nothing:
        mask = _ruled(mask, suv, tumor, probabilities, predicted.logits, outputs)
    mask = with_grid(mask, Grid.of(pet))  # the same grid; some readers round its header
    rows = measure_lesions(mask, suv, tumor)
    folder = outputs.case_folder(name)
    mark = (digits := mark_of_writer()) and f".{digits}"
    partial = folder.with_name(f".{name}{mark}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _write_masks(prepared, onto_own_grid(mask, prepared.own_grid), outputs, partial)
        write_lesions(rows, partial / "lesions.csv")
        if outputs.preview:
            _draw(mask, pet, outputs.max_suv, partial / "preview.png")
        record = _record(predicted, rows, outputs)
        if outputs.statistics:
            write_json(partial / "statistics.json", {name: record[name] for name in TOTALS} | {"lesions": rows})
        write_json(partial / RECORD, record)
        OwnFiles(folder).take(partial, last=RECORD)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Outcome(name, None, record)


def _forget(file: Path, state: Any) -> None:
    """Remove a record of other settings: were this run killed, it would else be taken for that of the new mask."""
    record = read_own_json(file)
    if record is not None and record.get("state") != state:
        file.unlink(missing_ok=True)


def _ruled(
    mask: SimpleITK.Image, suv: NDArray, tumor: NDArray, probabilities: NDArray, logits: Logits, outputs: Outputs
) -> SimpleITK.Image:
    """Apply the rule, and write the mask of the network anew."""
    labels = SimpleITK.GetArrayViewFromImage(mask)
    classes = classes_of(outputs.rule, labels, logits.about[2], outputs.classes, lambda: probabilities)
    case = Ruleable(labels != 0, mask.GetSpacing()[::-1], suv, tumor)
    image, _ = apply_to_image(outputs.rule, mask, case, classes)
    with replacing(logits.file) as temporary:
        SimpleITK.WriteImage(image, str(temporary), True)
    return image


def _write_masks(prepared: Prepared, mask: SimpleITK.Image, outputs: Outputs, folder: Path) -> None:
    if "nifti" in outputs.types:
        with replacing(folder / "mask.nii.gz") as temporary:
            SimpleITK.WriteImage(mask, str(temporary), True)
    if prepared.series is None:
        return
    from h2aseg_nnunet.petct.dicom.objects import masks_of, write_rtstruct, write_seg  # highdicom takes a second

    masks = masks_of(SimpleITK.GetArrayFromImage(mask), outputs.classes)
    if "dicom_seg" in outputs.types:
        write_seg(folder / "seg.dcm", masks, prepared.series, outputs.algorithm)
    if "dicom_rtstruct" in outputs.types:
        write_rtstruct(folder / "rtstruct.dcm", masks, prepared.series, outputs.algorithm)


def _record(predicted: Predicted, rows: Sequence[Mapping[str, Any]], outputs: Outputs) -> dict[str, Any]:
    prepared = predicted.prepared
    return {
        "case": prepared.input.name,
        "note": NOTE,
        "model": outputs.algorithm,
        **({} if outputs.rule.changes_nothing else {"rule": outputs.rule.describe()}),
        "h2aseg_nnunet": __version__,
        "num_lesions": len(rows),
        "tmtv_ml": float(sum(row["volume_ml"] for row in rows)),
        "tlg": float(sum(row["tlg"] for row in rows)),
        "suv_max": max((row["suv_max"] for row in rows), default=None),
        "suv_peak": max((row["suv_peak"] for row in rows), default=None),
        "notes": prepared.notes,
        "findings": predicted.findings,
        "source": prepared.record or {"files": [str(file) for file in prepared.input.images]},
        "state": predicted.state,
    }


def finished(name: str, outputs: Outputs, state: Any) -> dict[str, Any] | None:
    """Return the record of a case that an earlier run finished from the same files and settings; else None."""
    record = read_own_json(outputs.case_folder(name) / RECORD)
    same = record is not None and record.get("state") == state and outputs.network_mask(name).is_file()
    return record if same else None


def _draw(mask: SimpleITK.Image, pet: SimpleITK.Image, max_suv: float, file: Path) -> None:
    """Coronal and sagittal projections of the PET in one scale, with the mask's outline."""
    turned, lesions = to_patient_axes(pet), to_patient_axes(mask, labels=True)
    x_mm, y_mm, z_mm = turned.GetSpacing()
    wide_mm, deep_mm, high_mm = (size * mm for size, mm in zip(turned.GetSize(), turned.GetSpacing(), strict=True))
    suv, inside = SimpleITK.GetArrayFromImage(turned), SimpleITK.GetArrayFromImage(lesions) > 0
    picture = figure(PREVIEW_INCHES, PREVIEW_INCHES * high_mm / (wide_mm + deep_mm) + TITLES_INCHES)
    panels = picture.subplots(1, 2, width_ratios=(wide_mm, deep_mm))
    for axes, axis, width_mm, title in zip(panels, (1, 2), (x_mm, y_mm), ("coronal", "sagittal"), strict=True):
        axes.imshow(_up(suv.max(axis=axis)), cmap="gray_r", vmin=0, vmax=max_suv, aspect=z_mm / width_mm)
        if inside.any():
            axes.contour(_up(inside.max(axis=axis)), [0.5], colors="#D55E00", linewidths=1)
        axes.set(xticks=[], yticks=[], title=title)
    picture.suptitle(NOTE, fontsize="small")
    save(picture, file)


def _up(plane: NDArray) -> NDArray[np.float32]:
    """Rows from head to feet."""
    return np.asarray(plane[::-1], np.float32)
