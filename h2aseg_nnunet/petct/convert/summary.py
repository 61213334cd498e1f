"""What a conversion did, for the screen."""

from collections import Counter
from dataclasses import dataclass

from h2aseg_nnunet.errors import listing
from h2aseg_nnunet.petct.convert.raw_dataset import RawFolder
from h2aseg_nnunet.petct.convert.record import Record


@dataclass(frozen=True)
class Summary:
    """What a conversion did, for the screen.

    Attributes:
        raw: The dataset.
        records: What became of each case, now or earlier.
        refused: Cases that could not be converted now, and why.
        kept: Finished cases that stay although their sources are not as they were, and why.
        notes: Sentences on the dataset as a whole.
    """

    raw: RawFolder
    records: dict[str, Record]
    refused: dict[str, str]
    kept: dict[str, str]
    notes: list[str]

    def lines(self) -> list[str]:
        """Cases refused, kept or with a warning are named, the others counted; conversion.json has them all."""
        done = {name: record for name, record in self.records.items() if not record.refused}
        actions = Counter(action for record in done.values() for action in record.files.values())
        test = sum(not record.training for record in done.values())
        lines = [f"{self.raw.path}: {len(done) - test} training and {test} test cases"]
        lines.append("  files: " + (", ".join(f"{n} {action}" for action, n in sorted(actions.items())) or "none"))
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  {name}: {text}" for name, record in done.items() for text in record.warnings]
        if self.kept:
            name, reason = next(iter(self.kept.items()))
            lines.append(f"  WARNING: kept as converted earlier: {listing(list(self.kept))}. {name}: {reason}")
        lines += [f"  {name} REFUSED: {reason}" for name, reason in sorted(self.refused.items())]
        return [*lines, f"  every case: {self.raw.record}"]
