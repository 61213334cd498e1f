"""Tells nnU-Net where the trainers are.

Runs whenever Python starts in an environment with this package (`h2aseg_nnunet.pth`, or from Python 3.15 on
`h2aseg_nnunet.start`, at the root of site-packages): it may import nothing but `os`.
"""

import os

VARIABLE = "nnUNet_extTrainer"


def trainer_path() -> str:
    """Returns the directory to put into `nnUNet_extTrainer` where no start-up file runs (`pip install --target`)."""
    # not resolved: a strict editable install links single files, and the shim is next to the link
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "_nnunet_ext")


def register() -> None:
    """Appends `trainer_path()` to `nnUNet_extTrainer`, unless it is there already.

    nnU-Net takes the first match: what the user has set keeps its precedence.
    """
    paths = [path for path in os.environ.get(VARIABLE, "").split(os.pathsep) if path.strip()]
    if trainer_path() not in map(os.path.normpath, paths):
        os.environ[VARIABLE] = os.pathsep.join([*paths, trainer_path()])


def add_arguments(parser: object) -> None:
    """`h2aseg trainer-path` has no options."""


def run(options: object) -> None:
    """Print the directory: `h2aseg trainer-path`."""
    print(trainer_path())
