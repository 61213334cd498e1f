"""What is to be segmented: DICOM studies, nnU-Net's images, or a table of CT/PET pairs."""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.modalities import CT, PET
from h2aseg_nnunet.petct.cases import find_cases
from h2aseg_nnunet.petct.dicom.decay import Given
from h2aseg_nnunet.petct.dicom.tree import Study, read_tree
from h2aseg_nnunet.petct.tables import read_csv

TIME_FORMATS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y%m%d%H%M%S")


class Input(NamedTuple):
    """One case to segment: a DICOM study, or two image files.

    Attributes:
        name: Name of the case, by which its folder is called.
        study: The study; None for image files.
        images: CT and PET files; empty for a study.
        on_one_grid: The images are nnU-Net's, on one grid, and are taken as they are.
        given: What the user supplies in place of the study's header.
    """

    name: str
    study: Study | None
    images: tuple[Path, ...]
    on_one_grid: bool = False
    given: Given = Given()

    def state(self) -> list[tuple[str, int, int]]:
        """Name, size and time of change of every file: another state is another case."""
        if self.study is None:
            files = list(self.images)
        else:
            files = sorted({each.file for series in self.study.series.values() for each in series.slices})
        return [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]


class Inputs(NamedTuple):
    """All cases, and what was passed over on the way.

    Attributes:
        cases: In the order of their names.
        unreadable: Files and folders that could not be read and belong to no known case, with the reason.
    """

    cases: list[Input]
    unreadable: dict[Path, str]


def find_inputs(given: Path, file_ending: str, num_channels: int, weights: str | Path | None = None) -> Inputs:
    """Find the cases of a folder of DICOM files, a folder of nnU-Net images, or a table.

    Args:
        given: As the user wrote it.
        file_ending: Ending of nnU-Net's images, from the model's dataset.json.
        num_channels: Number of images per case, from the model's dataset.json.
        weights: Table of what headers lack: study or patient, weight_kg, dose_mbq, injected, corrected_to.

    Raises:
        UserError: If there is none, or the table of weights fits no study.
    """
    if (images := _image_files(given, file_ending, num_channels)) is not None:
        if weights:
            raise UserError(f"--weights {weights} is for DICOM studies, but -i {given} are images: leave it out.")
        return Inputs(images, {})
    tree = read_tree(given)
    supplied = _read_weights(Path(weights), tree.studies) if weights else {}
    names = _names(tree.studies)
    cases = [Input(names[study.uid], study, (), given=supplied.get(study.uid, Given())) for study in tree.studies]
    return Inputs(sorted(cases, key=lambda case: case.name), tree.unreadable)


def _image_files(given: Path, file_ending: str, num_channels: int) -> list[Input] | None:
    """The cases of a table or of nnU-Net's images; None for a folder of anything else."""
    if given.is_file() and given.suffix.lower() in (".csv", ".tsv", ".txt"):
        return _pairs(given)
    if not given.is_dir():
        raise UserError(f"-i {given} is neither a folder (DICOM or images) nor a table (.csv).")
    channel = re.compile(rf".+_\d{{4}}{re.escape(file_ending)}")
    try:
        names = [file.name for file in given.iterdir()]
    except OSError as error:
        raise UserError(f"-i {given} cannot be read: {error.strerror or error}.") from error
    if not any(channel.fullmatch(name) for name in names):
        return None
    cases = find_cases(given, num_channels, file_ending)
    return [Input(case.name, None, tuple(case.images), on_one_grid=True) for case in cases]


def _pairs(table: Path) -> list[Input]:
    cases = []
    for line, row in read_csv(table, ("case", "ct", "pet")):
        images = [table.parent / row[role] for role in ("ct", "pet")]
        if not all(row[role] for role in ("case", "ct", "pet")):
            raise UserError(f"{table}, line {line}: case, ct and pet must be given.")
        if images[CT].resolve() == images[PET].resolve():
            raise UserError(f"{table}, line {line}: ct and pet are the same file.")
        cases.append(Input(_as_name(row["case"]), None, tuple(images)))
    twice = [name for name, count in Counter(case.name for case in cases).items() if count > 1]
    if twice:
        raise UserError(f"{table} names the case {twice[0]} more than once.")
    return sorted(cases, key=lambda case: case.name)


def _names(studies: Sequence[Study]) -> dict[str, str]:
    """Patient and date where they tell studies apart, with a number where they do not."""
    names: dict[str, str] = {}
    for study in studies:
        base = _as_name(f"{study.patient}_{study.date}" if study.date else study.patient)
        number = 1
        while (name := base if number == 1 else f"{base}_{number}") in names.values():
            number += 1
        names[study.uid] = name
    return names


def _as_name(text: str) -> str:
    """A name that is a folder's on every system."""
    return re.sub(r"[^\w.-]+", "_", text).strip("._") or "case"


def _read_weights(table: Path, studies: Sequence[Study]) -> dict[str, Given]:
    supplied: dict[str, Given] = {}
    rows = read_csv(table, ())
    if rows and not set(Given._fields) & rows[0][1].keys():
        raise UserError(f"{table} has none of the columns {', '.join(Given._fields)}.")
    for line, row in rows:
        study = _study_of(table, line, row, studies)
        if study.uid in supplied:
            raise UserError(f"{table}, line {line}: {study.name} has a row already.")
        supplied[study.uid] = Given(
            _positive(table, line, row, "weight_kg"),
            _positive(table, line, row, "dose_mbq"),
            _time(table, line, row, "injected"),
            _time(table, line, row, "corrected_to"),
        )
    return supplied


def _study_of(table: Path, line: int, row: dict[str, str], studies: Sequence[Study]) -> Study:
    uid, patient = row.get("study"), row.get("patient")
    if not (uid or patient):
        raise UserError(f"{table}, line {line}: the column study (UID) or patient must say whose values they are.")
    found = [study for study in studies if (study.uid == uid if uid else study.patient == patient)]
    if not found:
        raise UserError(f"{table}, line {line}: there is no study {uid or patient}.")
    if len(found) > 1:
        raise UserError(f"{table}, line {line}: patient {patient} has {len(found)} studies: name the study.")
    return found[0]


def _positive(table: Path, line: int, row: dict[str, Any], column: str) -> float | None:
    text = row.get(column, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UserError(f"{table}, line {line}: {column} is {text!r}; a positive number is expected.")
    return value


def _time(table: Path, line: int, row: dict[str, Any], column: str) -> datetime | None:
    text = row.get(column, "")
    for layout in TIME_FORMATS:
        try:
            return datetime.strptime(text, layout) if text else None
        except ValueError:
            continue
    raise UserError(f"{table}, line {line}: {column} is {text!r}; expected is for instance 2024-03-01 09:00:00.")
