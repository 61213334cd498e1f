"""AutoPET's measures of a case, as the commands that compare predictions with each other show them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from h2aseg_nnunet.petct.tables import with_interval


class Measure(NamedTuple):
    """A measure of `h2aseg evaluate --metrics autopet`.

    Attributes:
        key: Its name in evaluations, JSON files and CSV columns.
        name: Its name in tables for people.
        digits: Format specification of its values in them.
    """

    key: str
    name: str
    digits: str

    def show(self, summary: Mapping[str, Any], sign: str = "") -> str:
        """Format a mean and its interval; "+" as `sign` marks a difference."""
        return with_interval(summary, self.digits, sign)


MEASURES = (
    Measure("dice", "Dice", ".4f"),
    Measure("false_positive_volume_ml", "FPV (ml)", ".2f"),
    Measure("false_negative_volume_ml", "FNV (ml)", ".2f"),
)
KEYS = tuple(measure.key for measure in MEASURES)
