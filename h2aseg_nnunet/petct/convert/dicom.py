"""DICOM studies as a training set: read as `h2aseg segment` reads them, with reference masks from SEG or RTSTRUCT."""

import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import SimpleITK
from tqdm import tqdm

from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.petct.convert.plan import Case, Plan
from h2aseg_nnunet.petct.dicom.inputs import Input, find_inputs
from h2aseg_nnunet.petct.dicom.labels import LabelObject, find_label_objects, read_label
from h2aseg_nnunet.petct.dicom.prepare import How, Prepared, prepare
from h2aseg_nnunet.petct.files import read_own_json, replacing, write_json
from h2aseg_nnunet.petct.parallel import in_parallel

LAYOUT = "DICOM studies"


class DicomOptions(NamedTuple):
    """How studies are read.

    Attributes:
        grid: "pet", "ct", or a number of mm, as in `h2aseg segment`.
        labels: File or folder of SEG and RTSTRUCT objects; None if there are none.
        rois: Names of the segments or ROIs that are tumor; empty if each object has only one.
        weights: Table of what headers lack.
    """

    grid: str = "pet"
    labels: str | None = None
    rois: tuple[str, ...] = ()
    weights: str | None = None


class _Extracted(NamedTuple):
    """A study as files, or why it is none."""

    case: Case | None
    refused: str = ""


class _Job(NamedTuple):
    """A study, and the objects with masks that belong to it."""

    name: str
    case: Input
    objects: Sequence[LabelObject]


def plan(source: str | Path, folder: Path, options: DicomOptions, num_processes: int = 1) -> Plan:
    """Extract every study to NIfTI files in `folder`, and plan them as cases.

    A study with a reference mask is a training case, one without a test case. A study extracted earlier from the same
    files is not read again.

    Args:
        source: Folder of DICOM files.
        folder: Where CT, PET and masks are extracted to.
        options: How studies are read.
        num_processes: Number of studies that are read at the same time.

    Raises:
        UserError: If there is no study, or an object of `labels` belongs to none.
    """
    inputs = find_inputs(Path(source), ".nii.gz", 2, options.weights)
    studies = [case for case in inputs.cases if case.study is not None]
    if not studies:
        raise UserError(f"{source} holds no DICOM study: a folder of DICOM files is expected.")
    objects = find_label_objects(options.labels) if options.labels else {}
    known = {case.study.uid for case in studies if case.study is not None}
    if strangers := sorted(objects.keys() - known):
        raise UserError(f"--labels {options.labels}: {listing(strangers, 3)} is the study of no image in {source}.")
    work = partial(_extract, folder=folder, options=options)
    jobs = [_Job(case.name, case, objects.get(case.study.uid, ())) for case in studies if case.study is not None]
    done = in_parallel(work, jobs, num_processes, lost=lambda job, why: _Extracted(None, f"{why}."))
    extracted = {job.name: made for job, made in tqdm(done, "Reading DICOM", len(jobs), unit="study")}
    refused = {name: made.refused for name, made in extracted.items() if made.refused}
    refused |= {str(path): f"cannot be read: {reason}" for path, reason in inputs.unreadable.items()}
    return Plan(
        "DICOM",
        LAYOUT,
        Path(source).resolve(),
        ("tumor",),
        tuple(extracted[name].case for name in sorted(extracted) if extracted[name].case is not None),
        refused=dict(sorted(refused.items())),
        one_grid=False,
        details={"grid": options.grid, "labels_from": str(options.labels), "rois": ", ".join(options.rois)},
    )


def _extract(job: _Job, folder: Path, options: DicomOptions) -> _Extracted:
    try:
        return _Extracted(_extracted(job.case, folder, options, job.objects))
    except UserError as error:
        return _Extracted(None, str(error))
    except Exception as error:  # a fault of the program in one study must not cost the others
        return _Extracted(None, f"{type(error).__name__}: {error}")


def _extracted(case: Input, folder: Path, options: DicomOptions, of_study: Sequence[LabelObject]) -> Case:
    assert case.study is not None
    own = folder / case.name
    state = {
        "files": [list(each) for each in case.state()],
        "given": [str(value) for value in case.given],
        "grid": options.grid,
        "labels": [[str(each.file), each.file.stat().st_mtime_ns] for each in of_study],
        "rois": list(options.rois),
    }
    record, label = own / "study.json", own / "label.nii.gz"
    done = read_own_json(record)
    if done is None or done.get("state") != state:
        shutil.rmtree(own, ignore_errors=True)
        prepared = prepare(case, How(options.grid, own))
        if of_study:
            _write_label(prepared, of_study, options.rois, label)
        done = prepared.record | {"state": state}
        write_json(record, done)
    return Case(
        case.name,
        case.study.patient,
        own / f"{case.name}_0000.nii.gz",
        own / f"{case.name}_0001.nii.gz",
        label if of_study else None,
        training=bool(of_study),
        stratum=_tracer(done),
    )


def _write_label(prepared: Prepared, objects: Sequence[LabelObject], rois: Sequence[str], file: Path) -> None:
    assert prepared.input.study is not None and prepared.series is not None
    image = read_label(objects, prepared.input.study, prepared.series, rois)
    with replacing(file) as temporary:
        SimpleITK.WriteImage(image, str(temporary), True)


def _tracer(record: Mapping[str, Any]) -> str:
    """The radiopharmaceutical: each fold gets its share of every one."""
    return str(record.get("pet", {}).get("radiopharmaceutical", ""))
