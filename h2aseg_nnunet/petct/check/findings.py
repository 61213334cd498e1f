"""What a check reports: the file, what was found, what was expected, and how to mend it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from h2aseg_nnunet.petct.files import read_own_json

Severity = Literal["error", "warning", "note"]
"""error: nnU-Net fails or silently trains on wrong data. warning: a person should look. note: worth knowing, normal."""


class Finding(NamedTuple):
    """One observation about one file or folder.

    Attributes:
        severity: How bad it is.
        check: Short name of the check, for scripts.
        file: Path of the file or folder.
        found: What was found there.
        expected: Completes "expected ...".
        remedy: What to do, one sentence or more.
        case: nnU-Net's case identifier; empty if the finding is about the whole dataset.
    """

    severity: Severity
    check: str
    file: str
    found: str
    expected: str
    remedy: str
    case: str = ""

    def line(self, root: Path) -> str:
        """The finding in one line; the file's path is relative to `root` where it lies inside."""
        path = Path(self.file)
        name = path.relative_to(root) if path.is_relative_to(root) and path != root else path
        text = f"{self.severity}: {name}: {self.found}; expected {self.expected}. {self.remedy}"
        return " ".join(text.split())  # messages of libraries may span lines


KEYS = {"folder", "cases", "errors", "warnings", "findings", "notes"}
"""Keys of the JSON that is written, by which an earlier output is known."""


class Outcome(NamedTuple):
    """All findings about one folder."""

    root: Path
    num_cases: int
    findings: list[Finding]

    def count(self, severity: Severity) -> int:
        """Number of findings of one severity."""
        return sum(finding.severity == severity for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """1 if there is an error, else 0."""
        return 1 if self.count("error") else 0

    def lines(self, with_notes: bool = False) -> list[str]:
        """One line per error and warning, and per note if asked, then a summary."""
        shown = [finding for finding in self.findings if with_notes or finding.severity != "note"]
        counts = [_plural(self.count("error"), "error"), _plural(self.count("warning"), "warning")]
        if notes := self.count("note"):
            counts.append(_plural(notes, "note") + ("" if with_notes else " (shown with --notes)"))
        summary = f"{self.root}: {_plural(self.num_cases, 'case')}, {', '.join(counts)}"
        return [finding.line(self.root) for finding in shown] + [summary]

    def as_json(self) -> dict[str, Any]:
        """Errors and warnings under "findings", notes under "notes"."""
        return {
            "folder": str(self.root),
            "cases": self.num_cases,
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "findings": [finding._asdict() for finding in self.findings if finding.severity != "note"],
            "notes": [finding._asdict() for finding in self.findings if finding.severity == "note"],
        }


def is_check(file: Path) -> bool:
    """Whether a file is JSON that `h2aseg check` wrote."""
    content = read_own_json(file)
    return content is not None and content.keys() == KEYS


def has_errors(findings: Iterable[Finding]) -> bool:
    """Whether one of the findings is an error."""
    return any(finding.severity == "error" for finding in findings)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
