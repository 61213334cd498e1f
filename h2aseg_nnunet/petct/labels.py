"""The values that label maps may hold, and who says so."""

from typing import NamedTuple


class Labels(NamedTuple):
    """The values of label maps.

    Attributes:
        values: All values in use, background included, without the ignore label.
        classes: The values of each class or region by its name, without background.
        ignore: The value of voxels that nobody judged, or None.
    """

    values: tuple[int, ...]
    classes: dict[str, tuple[int, ...]]
    ignore: int | None = None


class Declared(NamedTuple):
    """The values that masks may hold.

    Attributes:
        labels: The values, and the one for voxels that nobody judged.
        source: Who declares them, for messages: a dataset.json, an option or a challenge.
        how: How to declare another value, which completes "or ..." in a remedy; empty if nobody can.
    """

    labels: Labels
    source: str
    how: str = "declare the value under labels in a dataset.json beside these masks"

    @property
    def known(self) -> list[int]:
        """All values that may occur."""
        return [*self.labels.values, *([] if self.labels.ignore is None else [self.labels.ignore])]
