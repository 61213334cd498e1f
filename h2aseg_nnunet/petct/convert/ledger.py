"""conversion.json: the settings of a conversion and what became of each case."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.convert.raw_dataset import RawFolder
from h2aseg_nnunet.petct.convert.record import Record, is_as_written
from h2aseg_nnunet.petct.files import write_json

OTHER_SETTINGS = "repeat the earlier command to go on, choose another -d, or start anew with --overwrite"

LARGEST_SHARE_OF_TIME = 0.05
"""Share of a conversion that writing its record may take."""

STATE = ("finished", "axes", "splits_sha256", "dataset_json")
"""What the record holds beside settings and cases; that of an earlier version may lack some."""


@dataclass
class Ledger:
    """The record of a conversion.

    Attributes:
        folder: The dataset.
        settings: Source and options of the conversion.
        finished: Whether all cases were through.
        axes: The axes to which cases are turned; None if they are not.
        splits_sha256: Checksum of the folds that were written.
        dataset_json: Mark of dataset.json as it was written.
        records: What became of each case.
        unsaved: Cases whose record changed since it was written.
    """

    folder: RawFolder
    settings: dict[str, Any]
    finished: bool = False
    axes: str | None = None
    splits_sha256: str | None = None
    dataset_json: dict[str, Any] | None = None
    records: dict[str, Record] = field(default_factory=dict)
    unsaved: list[str] = field(default_factory=list)
    _next_save: float = 0.0

    @classmethod
    def read(cls, folder: RawFolder) -> "Ledger | None":
        """Read the record of a folder; None for a new one.

        Raises:
            UserError: If the folder holds something else.
        """
        content = folder.output.require_own()
        if content is None:
            return None
        records = {name: Record.of(record) for name, record in content.pop("cases").items()}
        state = {name: content[name] for name in STATE if name in content}
        return cls(folder, content["settings"], records=records, **state)

    def save(self) -> None:
        """Write conversion.json."""
        began = time.monotonic()
        state = {name: getattr(self, name) for name in ("settings", *STATE)}
        cases = {name: self.records[name].as_json() for name in sorted(self.records)}
        write_json(self.folder.record, state | {"cases": cases})
        self.unsaved.clear()
        ended = time.monotonic()
        self._next_save = ended + (ended - began) / LARGEST_SHARE_OF_TIME

    def save_now_and_then(self) -> None:
        """Write conversion.json unless it was written a moment ago: with thousands of cases it takes long."""
        if time.monotonic() >= self._next_save:
            self.save()

    def require_settings(self, settings: dict[str, Any]) -> None:
        """Make sure that the conversion goes on with the settings that it had.

        Raises:
            UserError: If not; the message names those that differ.
        """
        every = dict.fromkeys(self.settings) | settings
        self.folder.output._replace(remedy=OTHER_SETTINGS).require_settings(self.settings, every)

    @property
    def done(self) -> dict[str, Record]:
        """The cases that were converted."""
        return {name: record for name, record in self.records.items() if not record.refused}

    def files(self, name: str) -> dict[str, Path]:
        """Return the files of a case that were written, by their role."""
        record = self.records[name]
        return {role: file for role, file in self.folder.files(name, record.training).items() if role in record.files}

    def changed_files(self) -> list[Path]:
        """Find files that were written and are something else now: they are the user's."""
        marks = {self.folder.dataset_json: self.dataset_json}
        for name, record in self.records.items():
            marks |= {file: record.written.get(role) for role, file in self.files(name).items()}
        return [file for file, mark in marks.items() if exists(file) and not is_as_written(file, mark)]

    def other_files(self) -> list[Path]:
        """Find files in the folder that are none of the dataset's; hidden ones are left out."""
        ours = {file for name in self.records for file in self.files(name).values()}
        ours |= {self.folder.record, self.folder.dataset_json, self.folder.splits, self.folder.lock}
        inside = (self.folder.staging.path, self.folder.anew.path)
        return sorted(
            file
            for file in self.folder.path.rglob("*")
            if (file.is_file() or file.is_symlink())
            and file not in ours
            and not file.name.startswith(".")
            and not {*inside} & {*file.parents}
        )


def exists(file: Path) -> bool:
    """Whether something has this name, be it a link that leads nowhere."""
    return file.is_symlink() or file.exists()


def require_nothing_in_the_way(files: list[Path]) -> None:
    """Refuse to replace files that are not ours.

    Raises:
        UserError: If there are any.
    """
    if files:
        raise UserError(in_the_way(files))


def in_the_way(files: list[Path]) -> str:
    """Say why files are left as they are, and what to do."""
    others = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return (
        f"{files[0]}{others} would be replaced, but was not written by h2aseg convert or has been changed since. It is "
        "left as it is: move it away and repeat the command."
    )
