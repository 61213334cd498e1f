"""The error whose message is written for users, and how its message names many things."""

from collections.abc import Sequence

NAMES_IN_A_MESSAGE = 10


class UserError(ValueError):
    """Something that the user can mend: one line that names the file or value, what was expected, and how to mend it.

    The `h2aseg` command prints the line and exits with 1. Every other error is a fault of the program and shows its
    traceback.
    """


def listing(names: Sequence[str], limit: int = NAMES_IN_A_MESSAGE) -> str:
    """Join names for a message: at most `limit` of them, and how many more there are."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
