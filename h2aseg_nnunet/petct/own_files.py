"""Which files below a folder a command wrote, so that it never replaces or removes anybody else's."""

import os
from collections.abc import Iterable
from pathlib import Path

from h2aseg_nnunet.errors import UserError, listing

RECORD = ".h2aseg_files"


class OwnFiles:
    """The files that a command wrote below a folder: their names, one a line, in a hidden file there.

    A name is noted before its file is written, so that the files of a killed run are known too.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._record = folder / RECORD

    @property
    def exist(self) -> bool:
        """Whether the command has noted anything in this folder."""
        return self._record.is_file()

    @property
    def names(self) -> list[str]:
        """Names relative to the folder, in the order in which they were noted."""
        return list(dict.fromkeys(self._record.read_text(encoding="utf-8").splitlines())) if self.exist else []

    def adopt(self, patterns: Iterable[str]) -> None:
        """Note what an earlier version wrote, which noted nothing: files that match."""
        self._note([file for pattern in patterns for file in sorted(self.folder.glob(pattern)) if file.is_file()])

    def claim(self, files: Iterable[Path]) -> None:
        """Note files that will be written.

        Raises:
            UserError: If there are files of these names that the command did not write.
        """
        files = list(files)
        known = set(self.names)
        others = [file for file in files if (file.exists() or file.is_symlink()) and self._name(file) not in known]
        if others:
            raise UserError(
                f"{listing(list(map(str, others)), 3)} would be replaced, but another program wrote it: move it away, "
                "or choose another folder with -o."
            )
        self._note([file for file in files if self._name(file) not in known])

    def remove(self, keep: Iterable[Path] = ()) -> None:
        """Remove the files but those to keep, and folders that are empty then; what others wrote stays."""
        kept = {self._name(file) for file in keep}
        for name in [name for name in self.names if name not in kept]:
            file = self.folder / name
            file.unlink(missing_ok=True)
            for parent in file.parents:
                if parent == self.folder or not parent.is_dir() or any(parent.iterdir()):
                    break
                parent.rmdir()
        if self.exist:
            self._record.write_text("".join(f"{name}\n" for name in self.names if name in kept), encoding="utf-8")

    def take(self, temporary: Path, last: str) -> None:
        """Move all files of another folder into this one; those of an earlier run go, and what others wrote stays.

        Args:
            temporary: The folder they were written to, on the same disk.
            last: Name of the file that is moved last, and whose presence says that all are there.

        Raises:
            UserError: As `claim`.
        """
        names = sorted(file.relative_to(temporary).as_posix() for file in temporary.rglob("*") if file.is_file())
        targets = [self.folder / name for name in names]
        self.claim(targets)
        (self.folder / last).unlink(missing_ok=True)
        self.remove(keep=targets)
        for name in sorted(names, key=lambda name: name == last):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary / name, self.folder / name)

    def others(self, below: str = ".") -> list[Path]:
        """Find files that the command did not write; hidden ones are left out."""
        known = set(self.names)
        files = (file for file in sorted((self.folder / below).rglob("*")) if not file.is_dir())
        return [file for file in files if not file.name.startswith(".") and self._name(file) not in known]

    def _name(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()

    def _note(self, files: Iterable[Path]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._record.open("a", encoding="utf-8") as stream:
            stream.writelines(f"{self._name(file)}\n" for file in files)
