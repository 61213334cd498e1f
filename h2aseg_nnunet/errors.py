"""The one error whose message is written for users."""


class UserError(ValueError):
    """Something that the user can mend: one line that names the file or value, what was expected, and how to mend it.

    The `h2aseg` command prints the line and exits with 1. Every other error is a fault of the program and shows its
    traceback.
    """
